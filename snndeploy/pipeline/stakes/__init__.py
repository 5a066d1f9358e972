"""What is at stake: how much guesses and rounding change, measured before anybody trusts them."""
