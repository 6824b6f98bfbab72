"""The mean and the deviation of each column of a CSV file of numbers, without a header."""

import numpy

rows = numpy.loadtxt("/in/numbers.csv", delimiter=",", ndmin=2)
numpy.savetxt("/out/columns.csv", numpy.column_stack([rows.mean(axis=0), rows.std(axis=0)]), delimiter=",", fmt="%.6g")
