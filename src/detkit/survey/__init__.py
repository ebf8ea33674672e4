"""What a dataset looks like: counts for the terminal, and a page with plots and images before and after augmentation."""
