Prints its input backwards
Give it a line through a pipe and see

The first cell stays 0 to mark the beginning; the bytes go into the cells behind it
A byte of 0 or the end of the input ends the reading

>,[>,]

Back to the last byte and print from there to the mark

<[.<]

And end the line

++++++++++.
