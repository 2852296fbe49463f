import type { Order, Plan } from "@kloudtalk/sdk";
import { locale, type Message, t } from "../i18n";
import { Failure, day, useAction, useLoaded, useTalk } from "../ui";

const PLANS: Record<Plan["plan"], Message> = { free: "Free", trial: "Free trial", purchased: "Purchased" };
const ORDERS: Record<Order["state"], Message> = { pending: "Not paid", paid: "Paid", failed: "Payment failed" };

function price(amount: number, currency: string): string {
  const format = new Intl.NumberFormat(locale(), { style: "currency", currency });
  return format.format(amount / 10 ** (format.resolvedOptions().maximumFractionDigits ?? 2));
}

/** The plan of this account (P29), and whether it is a business (P30). */
export function PlanSettings() {
  const { client, state } = useTalk();
  const plan = useLoaded(() => client.services.plan());
  const orders = useLoaded(() => client.services.orders());
  const act = useAction();
  const business = useAction();
  const value = plan.value;
  return (
    <section class="card stack" aria-labelledby="plan">
      <h2 id="plan">{t("Plan")}</h2>
      <Failure error={plan.error ?? orders.error ?? act.error} />
      {value === null ? null : <p>{value.until === undefined ? t(PLANS[value.plan]) : t("{plan}, until {date}", { plan: t(PLANS[value.plan]), date: day(value.until) })}. <span class="soft">{t("Calls are free in every plan.")}</span></p>}
      {value !== null && value.trial_days > 0 ? (
        <div><button type="button" disabled={act.busy} onClick={() => void act.run(() => client.services.startTrial()).then(plan.again)}>{t("Try it free for {days, plural, one {# day} other {# days}}", { days: value.trial_days })}</button></div>
      ) : null}
      {(value?.products ?? []).map((one) => (
        <div key={one.product}>
          <button type="button" disabled={act.busy} onClick={() => void act.run(async () => { const order = await client.services.order(one.product); if (order.checkout_url !== undefined) location.assign(order.checkout_url); })}>
            {t("Buy {days, plural, one {# day} other {# days}} for {price}", { days: one.days, price: price(one.amount, one.currency) })}
          </button>
        </div>
      ))}
      {(orders.value ?? []).length > 0 ? (
        <ul class="list" aria-label={t("My orders")}>
          {(orders.value ?? []).map((order) => (
            <li key={order.order}>
              <div class="grow"><strong>{order.product}</strong><span class="soft small">{t(ORDERS[order.state])} · {price(order.amount, order.currency)} · {day(order.ordered_at)}</span></div>
              {order.checkout_url !== undefined ? <a class="button" href={order.checkout_url} rel="noreferrer">{t("Pay")}</a> : null}
            </li>
          ))}
        </ul>
      ) : null}
      <label class="check">
        <input type="checkbox" checked={state.account?.business ?? false} disabled={business.busy || state.account === null}
          onChange={(event) => { const { checked } = event.currentTarget; void business.run(() => client.changeSettings({ business: checked })); }} />
        <span>{t("This is a business account")}</span>
      </label>
      <p class="soft small">{t("People who deal with it see that it is one.")}</p>
      <Failure error={business.error} />
    </section>
  );
}
