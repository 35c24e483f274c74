"""The engine, its views and the host it runs on; beside the code the data that the specification names."""
