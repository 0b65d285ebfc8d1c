"""The reporting mart: its tables and views, defined once for every database that holds them."""
