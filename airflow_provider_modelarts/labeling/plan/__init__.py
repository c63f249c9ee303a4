"""Plans: what a confirmation will do with each proposal, stored before anything is written."""

from airflow_provider_modelarts.labeling.plan.lines import PlanHeader, PlannedSample, PlanRefused
from airflow_provider_modelarts.labeling.plan.plan_file import Plan, PlanWriter, read_plan

__all__ = ["Plan", "PlanHeader", "PlanRefused", "PlanWriter", "PlannedSample", "read_plan"]
