"""Plans (P29): free, trial, purchased; orders, and the provider who takes the payment."""
