"""How a dataset looks: counts for the terminal, and a page with plots and images as they are and as they train."""
