Says hello
Nine times 8 and 12 and 4 make three cells from which every letter is a short way

+++++++++[>++++++++>++++++++++++>++++<<<-]

>.                                              H
>-------.+++++++..+++.                          ello
>++++++++.------------.                         a comma and a blank
<+++++.-------------------.+++++++++++++++.-----------.   tape
>+.-----------------------.                     an exclamation mark and a new line
