"""What this provider adds to Airflow's own UI: a page to review the labels of a plan before they become final."""
