"""Tryton 8.2: products, prices, parties and stock in, sales of the point of sale out."""
