
"use strict";
const review = document.getElementById("review"), said = document.getElementById("said");
const cards = [...document.querySelectorAll("li[data-sample]")], answers = [...document.querySelectorAll("button.answer")];
const {digest, answer} = review.dataset, place = "modelarts-review " + answer + " " + digest;
const kept = JSON.parse(sessionStorage.getItem(place) || '{"samples": [], "labels": [], "audit": []}');
const samples = new Set(kept.samples), labels = new Set(kept.labels), audit = new Map(kept.audit);

function show() {
  sessionStorage.setItem(place, JSON.stringify({samples: [...samples], labels: [...labels], audit: [...audit]}));
  for (const row of document.querySelectorAll("tr[data-label]"))
    mark(row, labels.has(JSON.parse(row.dataset.label)), "label");
  for (const card of cards) {
    const id = JSON.parse(card.dataset.sample), found = audit.get(id), right = card.querySelector(".right");
    mark(card, samples.has(id) || JSON.parse(card.dataset.labels).some(name => labels.has(name)), "sample");
    if (!right) continue;
    right.setAttribute("aria-pressed", found === "right");
    card.querySelector(".wrong").value = Array.isArray(found) ? found.join(", ") : "";
  }
  if (answers.length) said.textContent = samples.size + labels.size + audit.size === 0 ? "Nothing is rejected so far." :
    `Rejected: ${samples.size} samples, ${labels.size} labels. They go to people.` + (audit.size ? ` Audited: ${audit.size}.` : "");
}
function mark(element, isRejected) {
  element.toggleAttribute("data-rejected", isRejected && element.querySelector(".reject") !== null);
  element.querySelector(".reject")?.setAttribute("aria-pressed", isRejected);
}
function turn(set, key) { if (!set.delete(key)) set.add(key); show(); }
function step(by) { cards[Math.min(Math.max(cards.indexOf(document.activeElement) + by, 0), cards.length - 1)]?.focus(); }

function resize(card) {
  for (const one of cards) one.toggleAttribute("data-large", one === card && !one.hasAttribute("data-large"));
  card?.scrollIntoView({block: "nearest"});
}
function compare(picture) {  // boxes lie where they are drawn only if the picture has the shape that its size says
  const svg = picture.parentElement.querySelector("svg"), {naturalWidth, naturalHeight} = picture;
  if (!svg || !naturalWidth) return;
  const {width, height} = svg.viewBox.baseVal;
  if (Math.abs(naturalWidth * height / (naturalHeight * width) - 1) < .02) return;
  svg.remove();
  picture.closest("li").querySelector(".undrawn").textContent =
    `Cannot be drawn: the picture has ${naturalWidth} x ${naturalHeight} pixels, its size says ${width} x ${height}.`;
}

function namesIn(text) {  // a comma parts names, unless it belongs to a label of the plan
  const known = [...document.querySelectorAll("#names option")].some(one => one.value === text);
  return known ? [text] : text.split(",").map(name => name.trim()).filter(name => name);
}

async function send(option) {
  for (const button of answers) button.disabled = true;
  try {
    const state = await fetch("state");
    if (!state.ok) return `Nothing was sent: whether the plan is still the same cannot be seen now (${state.status}). Load the page again.`;
    const now = await state.json();
    if (now.digest !== digest) return "Nothing was sent: the plan was replaced while you looked at it. Load the page again.";
    if (!now.is_waiting) return `Nothing was sent: ${now.answered_by ? "answered already by " + now.answered_by : "the task no longer waits for an answer"}.`;
    const params_input = {reject_samples: [...samples], reject_labels: [...labels]};
    if (JSON.parse(review.dataset.inputs).includes("audit_answers")) params_input.audit_answers = Object.fromEntries(audit);
    const reply = await fetch(answer, {method: "PATCH", headers: {"Content-Type": "application/json"},
      body: JSON.stringify({chosen_options: [option], params_input})});
    if (reply.ok) { sessionStorage.removeItem(place); return `Answered: ${option}.`; }
    if (![401, 403, 409].includes(reply.status)) for (const button of answers) button.disabled = false;
    return {401: "Not sent: log in again.", 403: "Not sent: you may not answer for this DAG.",
      409: "Not sent: somebody has answered already."}[reply.status] || `Airflow answers ${reply.status}: nothing was changed. Try again.`;
  } catch (error) {
    for (const button of answers) button.disabled = false;
    return "Airflow could not be reached. Load the page again to see whether the answer arrived.";
  }
}
for (const picture of document.images) picture.complete ? compare(picture) : picture.addEventListener("load", () => compare(picture));
document.addEventListener("click", async event => {
  if (event.target.closest("figure")) return resize(event.target.closest("li"));
  const button = event.target.closest("button"), card = button?.closest("li"), row = button?.closest("tr");
  if (button?.matches(".answer")) said.textContent = await send(button.value);
  else if (button?.matches(".right")) { audit.set(JSON.parse(card.dataset.sample), "right"); show(); }
  else if (button?.matches(".reject")) card ? turn(samples, JSON.parse(card.dataset.sample)) : turn(labels, JSON.parse(row.dataset.label));
});
document.addEventListener("change", event => {
  if (!event.target.matches(".wrong")) return;
  const id = JSON.parse(event.target.closest("li").dataset.sample);
  const names = namesIn(event.target.value);
  names.length ? audit.set(id, names) : audit.delete(id);
  show();
});
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
  if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "x") document.activeElement.querySelector?.(".reject")?.click();
  else if (event.key === "o" || (event.key === "Enter" && cards.includes(event.target))) resize(document.activeElement.closest("li"));
});
show();
