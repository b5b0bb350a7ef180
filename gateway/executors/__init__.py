"""How a model is run: inside the HTTP worker, or in processes of its own; one by one or in batches."""
