"""Quality: what the last runs of a dataset came to, counted from plans and ledgers, as a report for people."""
