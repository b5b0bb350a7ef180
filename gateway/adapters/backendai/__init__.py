"""The words of Backend.AI's API: options of an execution, its console and its result, paths and archives of files."""
