-- Temporary table: one row per explanation and control with simulated activations: their correlation with the real ones
-- over all tokens of all contexts, but for those that have no simulated one; 0 where the real ones vary and the
-- simulated ones do not, which tell nothing of them: without a score whoever rightly predicts nothing from a wrong
-- explanation would be left out of the floor. Interval: Fisher's transform, with the
-- jackknife over questions for its variance, and Student's t with two degrees of freedom fewer than that has by
-- Satterthwaite: a few strong firings decide a correlation, and with few questions the inequality is underestimated.
create or replace temp table simulations as
with paired as (
    select
        feature,
        replicate,
        control,
        question,
        unnest(simulated)::double as guess,
        unnest(activations)::double as fact
    from judged
    where simulated is not null and len(simulated) = len(activations)
),

tokens as (
    select * from paired
    where guess is not null
),

-- Around the mean of all tokens: sums of squares of what is far from 0 lose digits.
centred as (
    select
        feature,
        replicate,
        control,
        question,
        guess - avg(guess) over everything as guess,
        fact - avg(fact) over everything as fact
    from tokens
    window everything as (partition by feature, replicate, control)
),

questions as (
    select
        feature,
        replicate,
        control,
        question,
        count(*)::double as n,
        sum(guess) as guess,
        sum(fact) as fact,
        sum(guess * guess) as guess_guess,
        sum(fact * fact) as fact_fact,
        sum(guess * fact) as guess_fact
    from centred
    group by feature, replicate, control, question
),

without as (
    select
        feature,
        replicate,
        control,
        sum(n) over everything - n as n,
        sum(guess) over everything - guess as guess,
        sum(fact) over everything - fact as fact,
        sum(guess_guess) over everything - guess_guess as guess_guess,
        sum(fact_fact) over everything - fact_fact as fact_fact,
        sum(guess_fact) over everything - guess_fact as guess_fact,
        -- What is left of squares when nothing varies any more, by rounding.
        1e-12 * sum(guess_guess) over everything as guess_nothing,
        1e-12 * sum(fact_fact) over everything as fact_nothing
    from questions
    window everything as (partition by feature, replicate, control)
),

products as (
    select
        *,
        guess_fact - guess * fact / n as covariance,
        guess_guess - guess * guess / n as guess_variance,
        fact_fact - fact * fact / n as fact_variance
    from without
),

jackknifed as (
    select
        feature,
        replicate,
        control,
        case
            when guess_variance > guess_nothing and fact_variance > fact_nothing
                then fisher(covariance / sqrt(guess_variance * fact_variance))
        end as z
    from products
),

deviations as (
    select
        *,
        z - avg(z) over (partition by feature, replicate, control) as deviation
    from jackknifed
),

-- Not known while leaving one question out leaves nothing that varies.
moments as (
    select
        feature,
        replicate,
        control,
        count(*) as questions,
        case when count(z) = count(*) and count(*) > 1 then sum(deviation ** 2) end as squares,
        sum(deviation ** 4) as fourth_powers
    from deviations
    group by feature, replicate, control
),

reaches as (
    select
        feature,
        replicate,
        control,
        student(
            least(
                questions - 1,
                greatest(2, 2 / nullif(fourth_powers / nullif(squares, 0) ** 2 - 1 / questions, 0) - 2)
            )
        ) * sqrt(squares * (questions - 1) / questions) as reach
    from moments
),

correlations as (
    select
        feature,
        replicate,
        control,
        if(max(guess) > min(guess), corr(guess, fact), 0) as pearson
    from centred
    group by feature, replicate, control
    having max(fact) > min(fact)
)

select
    correlations.*,
    tanh(fisher(pearson) - reaches.reach) as pearson_low,
    tanh(fisher(pearson) + reaches.reach) as pearson_high
from correlations
inner join reaches using (feature, replicate, control)
