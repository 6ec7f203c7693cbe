"""What 50 million changes cost at list prices, from landed objects of the laptop stack and the template."""
