"""The attack catalogue of SPEC section 10 as scenarios, one an entry: ``table`` says what each must come to."""
