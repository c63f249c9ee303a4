"""Credentials, and what authorizes requests with them."""

from airflow_provider_modelarts.client.auth.authorizers import Authorizer
from airflow_provider_modelarts.client.auth.credentials import (
    AccessKeyCredentials,
    Credentials,
    PasswordCredentials,
    TokenCredentials,
)
from airflow_provider_modelarts.client.auth.password import forget_tokens

__all__ = [
    "AccessKeyCredentials",
    "Authorizer",
    "Credentials",
    "PasswordCredentials",
    "TokenCredentials",
    "forget_tokens",
]
