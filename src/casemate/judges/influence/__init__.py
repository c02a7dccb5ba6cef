"""Which training rows made a decision, and what each of them is worth.

linear        what leaving a row out does to a linear fit: exact for least squares and ridge, one Newton step for logistic
gradients     TracIn for dense networks, by the Gram trick
forest        whose labels the leaves of trees average
shapley       data values: exact for a few rows, by permutations with an interval for more, by leaving one out
responsible   the rows behind one decision, by whichever method fits the model, or by training without each
without       training without a row, and what the model of the others says for the decision
"""
