"""The fleet as one page: verdict rows are packed into columns, and a script in the page shows them."""
