"""The steps from one shape of the index to the next, as alembic runs them."""
