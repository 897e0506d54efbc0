-- Macro: variance of a sum of residuals of two classes, from the sums over questions of the squares and of the products
-- of what each class adds in a question, and from how many questions have one of the class, or any (Obuchowski 1997).
-- Null where one question has all of a class.
create or replace temp macro clustered(
    positive_squares, positive_questions, negative_squares, negative_questions, products, questions
) as positive_squares * positive_questions / nullif(positive_questions - 1, 0)
+ negative_squares * negative_questions / nullif(negative_questions - 1, 0)
+ 2 * products * questions / nullif(questions - 1, 0)
