"""What to do with the machine's proposals: decide by a policy, confirm, account for every sample.

It never imports Airflow and never opens a socket itself: it is handed a client.
"""
