"""Mixed precision under an accuracy budget: what each layer costs, and the smallest build that holds."""
