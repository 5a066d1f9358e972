"""Recipes that keep the answers: what a compressed network still answers, and what is given back."""
