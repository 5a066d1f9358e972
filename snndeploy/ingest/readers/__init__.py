"""Files and graphs as plain records, read without trusting them."""
