"""How many changes a second one core of the relay transforms, beside boto3's deserializer with json, and its memory."""
