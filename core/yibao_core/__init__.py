"""The rules of residents' medical insurance: integers in, integers out."""
