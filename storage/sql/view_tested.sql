-- View `tested`: one row per row of `scores`, with q of those about an explanation, or a feature, itself: the false
-- discovery rate at which its score lies above the floor. p: the rank of the score among all scores of the control
-- (conformal p-values, Bates, Candes, Lei, Romano and Sesia 2023), which takes for granted neither a distribution nor
-- that floors vary by sampling alone; q: Benjamini and Hochberg's (1995) over the scores of one scorer on one
-- explainer's explanations of one coder.
create or replace view tested as
with ranked as (
    select
        *,
        count(score) filter (where control != 'none') over everything as floors,
        count(score) filter (where control != 'none') over at_least as floors_at_least
    from scores
    window
        everything as (partition by run, coder, explainer, scorer, measure),
        at_least as (
            partition by run, coder, explainer, scorer, measure
            order by score desc nulls last
            range between unbounded preceding and current row
        )
),

chances as (
    select
        * exclude (floors, floors_at_least),
        case
            when control = 'none' and score is not null and floors > 0 then (1 + floors_at_least) / (1 + floors)
        end as p
    from ranked
),

adjusted as (
    select
        *,
        p * count(p) over family / count(p) over at_most as raw_q
    from chances
    window
        family as (partition by run, coder, explainer, scorer, measure),
        at_most as (
            partition by run, coder, explainer, scorer, measure
            order by p nulls last
            range between unbounded preceding and current row
        )
)

select
    * exclude (p, raw_q),
    case
        when p is not null then min(raw_q) over (
            partition by run, coder, explainer, scorer, measure
            order by p desc nulls last
            range between unbounded preceding and current row
        )
    end as q
from adjusted
