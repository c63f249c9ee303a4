"""The scheme ``obs://``: object storage of the vendor, for fsspec, universal_pathlib and Airflow."""
