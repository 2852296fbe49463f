"""The operators' API under ``/v1/admin/`` as data: one module per subject, each with its Structs and its table of endpoints."""
