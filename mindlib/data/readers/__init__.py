"""One module for each form in which interaction logs are published."""
