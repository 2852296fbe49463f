"""SQL engine, tables and migrations; the Redis client and its batching; embedded stores."""
