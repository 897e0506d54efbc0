-- Macro: degrees of freedom of the sum of two classes' variances (Satterthwaite 1946), each estimated from as many
-- questions as have contexts of its class; fewer than there are questions. Where nothing varies, but for what rounding
-- leaves, those of the class in fewer questions.
create or replace temp macro satterthwaite(
    positive_variance, positive_questions, negative_variance, negative_questions, questions
) as case
    when positive_variance + negative_variance > 1e-24
        then
            greatest(
                1,
                least(
                    questions - 1,
                    (positive_variance + negative_variance) ** 2
                    / (
                        positive_variance ** 2 / (positive_questions - 1)
                        + negative_variance ** 2 / (negative_questions - 1)
                    )
                )
            )
    else least(positive_questions, negative_questions) - 1
end
