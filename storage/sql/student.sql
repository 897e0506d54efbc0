-- Macro: the 97.5 % quantile of Student's t with `df` degrees of freedom; that of 4 and more by the expansion of
-- Cornish and Fisher (Abramowitz and Stegun 26.7.5), to within 0.001, and to within 0.04 between 2 and 4. Null for less
-- than 1.
create or replace temp macro student(df) as case
    when df = 1 then 12.70620474
    when df = 2 then 4.302652730
    when df = 3 then 3.182446305
    when df > 2 then
        1.959963985 + 2.372271230 / df + 2.822502045 / df ** 2 + 2.555857775 / df ** 3 + 1.589536030 / df ** 4
end
