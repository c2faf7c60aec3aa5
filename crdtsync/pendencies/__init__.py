"""What is wrong as business: which rules are broken, what people did about it, and how it is settled."""
