"""Credentials, and what authorizes requests with them."""

from airflow_provider_modelarts.client.auth.credentials import (
    AccessKeyCredentials,
    Authorizer,
    Credentials,
    PasswordCredentials,
    TokenCredentials,
    forget_tokens,
)

__all__ = [
    "AccessKeyCredentials",
    "Authorizer",
    "Credentials",
    "PasswordCredentials",
    "TokenCredentials",
    "forget_tokens",
]
