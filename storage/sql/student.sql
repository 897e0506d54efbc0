-- Macro: the 97.5 % quantile of Student's t with `df` degrees of freedom; that of 4 and more by the expansion of
-- Cornish and Fisher (Abramowitz and Stegun 26.7.5), to within 0.001, and to within 0.04 between 2 and 4; between 1 and
-- 2 to within 0.3 %, its logarithm being nearly a straight line over 1 / df. Null for less than 1.
create or replace temp macro student(df) as case
    when df = 1 then 12.70620474
    when df > 1 and df < 2
        then
            4.302652730 * (12.70620474 / 4.302652730) ** (2 / df - 1) * exp(-0.112 * (2 / df - 1) * (2 - 2 / df))
    when df = 2 then 4.302652730
    when df = 3 then 3.182446305
    when df > 2 then
        1.959963985 + 2.372271230 / df + 2.822502045 / df ** 2 + 2.555857775 / df ** 3 + 1.589536030 / df ** 4
end
