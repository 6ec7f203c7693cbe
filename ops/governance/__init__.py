"""Who may read what of the lake on AWS, and who did: roles of people, tags, filters, and the access log.

`roles` says what each role is for, `wanted` what follows from contracts and models, `granting` what CloudFormation
makes of it, `applying` what can only be put on tables that are there.
"""
