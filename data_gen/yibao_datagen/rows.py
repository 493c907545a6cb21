"""A row of the ledger as a column of numbers: what claims are written to and tables are made of."""

DAY_US = 86_400_000_000
SECOND_US = 1_000_000
NONE = -1

# A row, as a column of numbers.
COLUMNS = 18
(
    PERSON,  # place among the people
    NUMBER,  # settlement
    REVERSES,  # settlement; NONE
    EPISODE,  # settlement that the episode began with; NONE
    CARE,
    SETTLED_US,
    SHOWN_DAY,  # what is known then about the category stands in the row: a reversal shows what its original did
    ADMISSION_DAY,
    SERVICE_DAY,
    TREATED,
    HOSPITAL,
    LEVEL,
    TOTAL,
    SELF_FUNDED,
    OVER_LIMIT,
    FIRST_PAY,
    ELIGIBLE,
    BASIC,
) = range(COLUMNS)
