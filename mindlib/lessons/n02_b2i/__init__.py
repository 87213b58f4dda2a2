"""The simulated users, figures and exercises of notebook 02."""
