"""The schema's history, run by alembic; a published step is never changed."""
