"""Evidence: what people's answers to a random audit prove about the proposals of a plan."""
