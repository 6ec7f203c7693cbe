"""What tests share: lakes, models, fault injection, readers, the laptop stack."""
