"""Retrieval: questions with parameters over all that the lake keeps, each with a page that shows its answer.

A question is a folder of `questions`: what it is and who may put it (`template.yml`), its queries and its page. Values
reach the engine as bound parameters alone, and every name in a query is one of a contract, so that nothing that a
person types can be read as SQL. Who put which question, and how much was shown, is kept.
"""
