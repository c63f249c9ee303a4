"""How a request reaches the service: one HTTP exchange, retries, and what an answer means."""
