/* adapter - to be written. */
typedef int not_empty_yet;
