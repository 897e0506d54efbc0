-- View `tested`: one row per row of `scores`, with q of those about an explanation, or a feature, itself: the false
-- discovery rate at which its score lies above the floors. p: the rank of the score among all scores of a control
-- (conformal p-values, Bates, Candes, Lei, Romano and Sesia 2023), which takes for granted neither a distribution nor
-- that floors vary by sampling alone, the larger one where there are two controls; q: Benjamini and Hochberg's (1995)
-- over the scores of one scorer on one explainer's explanations of one coder. Windows have only the columns that they
-- need, since they hold all rows in memory; with a filter count(*) over one takes time by the square of the rows, and
-- count(score) does not.
create or replace view tested as
with ranked as (
    select
        run,
        coder,
        feature,
        explainer,
        replicate,
        scorer,
        measure,
        control,
        score,
        count(score) filter (where control in ('shuffled', 'mixed')) over everything as floors,
        count(score) filter (where control in ('shuffled', 'mixed')) over at_least as floors_at_least,
        count(score) filter (where control = 'unexplained') over everything as unexplained,
        count(score) filter (where control = 'unexplained') over at_least as unexplained_at_least
    from scores
    where score is not null
    window
        everything as (partition by run, coder, explainer, scorer, measure),
        at_least as (
            partition by run, coder, explainer, scorer, measure
            order by score desc
            range between unbounded preceding and current row
        )
),

chances as (
    select
        * exclude (floors, floors_at_least, unexplained, unexplained_at_least, score),
        greatest(
            if(floors > 0, (1 + floors_at_least) / (1 + floors), null),
            if(unexplained > 0, (1 + unexplained_at_least) / (1 + unexplained), null)
        ) as p
    from ranked
    where control = 'none' and floors + unexplained > 0
),

adjusted as (
    select
        *,
        p * count(*) over family / count(*) over at_most as raw_q
    from chances
    window
        family as (partition by run, coder, explainer, scorer, measure),
        at_most as (
            partition by run, coder, explainer, scorer, measure
            order by p
            range between unbounded preceding and current row
        )
),

rates as (
    select
        * exclude (p, raw_q, measure),
        min(raw_q) over (
            partition by run, coder, explainer, scorer, measure
            order by p desc
            range between unbounded preceding and current row
        ) as q
    from adjusted
)

select
    scores.*,
    rates.q
from scores
left join rates using (run, coder, feature, explainer, replicate, scorer, control)
