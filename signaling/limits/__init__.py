"""How often devices, accounts and addresses may do what others bear the cost of: counted in Redis, in common for all hubs."""
