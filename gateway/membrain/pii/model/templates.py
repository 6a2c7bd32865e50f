"""Sentences and records with gaps for names, from which training texts are made.

Plain data: `TEMPLATES` by kind of text. `{p}` is a person in any form, `{f}` a first name, `{l}` a surname, `{q}` surname
before first name, `{i}` a Polish one inflected; `{c}` a town, `{k}` a country, `{r}` a region, `{a}` a street address;
`{o}` a firm and `{m}` a people, which are no findings; the other gaps (`{e}` mail address, `{u}` account, `{n}` number,
`{d}` date, `{t}` time, `{h}` phone, `{x}` identifier, `{v}` version) hold what is no name. `<<a|b>>` is a choice. Texts
without a gap teach what is no name.
"""

# ruff: noqa: E501, RUF001  # a template is one line, and speaks its own language

from __future__ import annotations

_MAIL = """
<<Hi|Hello|Dear|Hey|Good morning|Good afternoon>> {f},\\n\\n<<thanks for your mail|thank you for getting back to me|hope you are well|I wanted to follow up on our call|just checking in>>. {p} will <<visit|call|contact|meet>> you in {c} on {d}.\\n\\n<<Best regards|Kind regards|Regards|Thanks|Cheers|Best|Sincerely|Many thanks>>,\\n{p}
<<Dear|Hello>> <<Mr.|Mrs.|Ms.|Dr.|Prof.|Mr|Mrs|Ms|Miss>> {l},\\n\\nyour <<order|invoice|contract|booking|claim>> {x} has been <<shipped|approved|received|cancelled>>. Please <<contact|ask for|write to>> {p} <<with any questions|in our {c} office>>.\\n\\n<<Sincerely|Yours faithfully|Best>>,\\n{p}\\n<<Account Manager|Head of Sales|Support Team|Senior Engineer|Director, Finance>>\\n{o}\\n{h}
From: {p} <{e}>\\nTo: {p} <{e}>\\nCc: {p}\\nDate: {d}\\nSubject: <<Re: Quarterly report|Meeting notes|FW: Contract|Invoice {x}|Lunch?>>\\n\\n<<Hi|Hello>> {f},\\n\\n<<see attached|please find the file attached|can you look at this|let me know what you think>>.\\n\\n{f}
From: {q}\\nSent: {d} {t}\\nTo: {q}; {q}; {q}\\nSubject: <<RE: Master agreement|Gas deal|Weekly update|Vacation>>\\n\\n{f},\\n\\n<<I talked to|I spoke with|I just heard from|I left a message for>> {f} <<about this yesterday|this morning|and he is fine with it|and she will send it over>>. <<Do you want me to|Can you|Please>> <<forward it to|copy|ask|check with>> {f} {l}?\\n\\nThanks,\\n{f}
{p}\\n{d} {t}\\nTo: {p}/<<HOU|NY|LON|CORP>>/<<ACME|ECT|GLOBEX>>@<<ACME|ECT|GLOBEX>>, {p}/<<HOU|NY|LON>>/<<ECT|ACME>>@<<ECT|ACME>>\\ncc: {p}/<<HOU|NA>>/<<ECT|ACME>>@<<ECT|ACME>>\\nSubject: Re: <<Draft|Meeting|Confidentiality agreement>>
---------------------- Forwarded by {p}/<<HOU|NA|LON>>/<<ECT|ACME>> on {d} {t} ---------------------------
-----Original Message-----\\nFrom: {q}\\nSent: <<Monday|Tuesday|Friday>>, {d} {t}\\nTo: {q}\\nSubject: <<RE: Revised draft|Call today>>
On {d} at {t}, {p} <{e}> wrote:\\n> <<Sounds good|I agree|No problem>>, {f}.\\n> {f}
On {d}, {p} wrote:\\n> Can we move the call to <<Monday|Thursday>>?
{f} -\\n\\n<<Attached is|Here is|Please review>> the <<latest draft|agreement|spreadsheet>> <<that {f} mentioned|we discussed with {p}|from {f} {l} in {c}>>. <<Call me|Let me know>> if you have <<questions|comments>>.\\n\\n{f}
{f}/{f},\\n<<please see the note below from|could one of you call|I need a copy of this for>> {p}.\\n{f}
{f},\\n\\n<<Per our conversation|As discussed|FYI>>, <<the contract with|the meeting with|the check from>> {o} <<is on|was moved to|is due>> {d}. {f} and I <<will be in|are flying to|get back from>> {c} <<next week|tomorrow|on Friday>>.\\n\\n<<Thanks|Thx|Best>>,\\n\\n{f}
Please <<join me in welcoming|congratulate|say hello to>> {p}, <<who joins us as|our new>> <<Vice President of Operations|analyst|Product Manager>> in the {c} office. {f} <<comes to us from|most recently worked at|spent six years with>> {o}.
<<Thanks again|Talk soon|See you soon|Love|Hugs|Take care>>,\\n{f}
<<Thanks|Best|Regards>>\\n{p}\\n<<CEO|Office Manager|Attorney at Law|Sales Director>>, {o}\\n{a}\\nTel: {h}\\n{e}
-- \\n{p}\\n<<Software Engineer|PhD student|Consultant>>\\n{c}, {k}\\nhttps://example.org
<<Attendees|Participants|Present|Invited|Absent>>: {p}, {p}, {p} and {p}
<<cc|CC|Bcc|To>>: {p}; {p}; {p}
Sent from my iPhone\\n\\n> On {d}, {f} {l} <{e}> wrote:\\n> See you there.
Hi all,\\n\\n{f} is out sick today, so {f} will run the <<standup|demo|retro>>. {f}, can you share the slides with {f} {l}?\\n\\n{f}
Dear <<all|team|colleagues>>,\\n\\nI am <<pleased|happy>> to announce that {p} <<has been promoted to|will take over as>> <<team lead|regional manager>> for {r}. <<Her|His>> predecessor, {p}, <<is moving to|leaves for>> {c}.\\n\\nRegards,\\n{p}
"{q}" <{e}> wrote:\\n{f}, <<can you check this|please see below|thanks>>.
"{q}" <{e}>\\n{d} {t}\\nTo: "'{q}'" <{e}>, "'{f} {l}'" <{e}>\\ncc: {e}\\nSubject: <<RE: Hi|Re: Saturday>>
To: {p}\\ncc:\\nFrom: {p}\\n\\n{f},\\n\\n<<You are correct, I will|This sounds better than|Any news on|Do you still have>> <<the letter|the file|it>>.\\n{f}
<<please review and forward|let me know|call me tomorrow>>.\\nThanks\\n{p}\\n{f},\\n<<You are right|Please see the attached|Got it, thanks>>.\\n{f}
{f}:\\n<<As discussed, attached is|Enclosed please find|Per your request here is>> the <<draft|amendment>>. {f} <<will sign it|has the original>>.\\n{p}
<<hope all is well|talk to you later|see ya|let me know>>\\n\\n{f}
{f},\\n<<How was|What time is|Are you coming to>> <<the game|dinner|{c}>>? {f} and {f} <<are looking for you|can't make it|want tickets>>, <<don't tell|ask>> {f}.\\n{f}
Posted by {p} <<at {t}|on {d}>> | <<Comments (2)|Permalink>>
Forwarded message from {p} to {p}: <<see below|no text>>
{p} and I <<talked about|will be working on|decided on>> the <<pricing|model>>; {l} <<thinks|says>> it <<is fine|won't work>>. <<Regards|Vince>>,\\n{p}
Hi {f} and {f},\\n\\nmeet {p}, <<our new counsel|who runs {c}|my counterpart at {o}>>. {f}, meet {f} and {f}.
Professor {l} <<teaches|wrote a paper on>> <<finance|chemistry>> at {o}; <<his student|her student>> {p} <<is visiting from|got an offer in>> {c}.
""".strip().splitlines()

_TALK = """
<<My name is|I'm|I am|This is|Hi, this is|Hello, my name is|Hey, it's|You can call me>> {p}<<.|,>> <<My email is {e}|you can reach me at {h}|I live in {c}|I'm calling about order {x}|I am from {c}, {k}>>.
<<I live in|I am from|We are moving to|I was born in|I work in|We stayed in|Flights to|Greetings from|The weather in|Moving from {c} to>> {c}<<.|, {k}.|, {r}.| next month.| since {d}.>>
<<Please|Could you|Can you>> <<call|email|remind|text|ping|invite|ask>> {p} <<about the invoice|before {d}|at {h}|when you are in {c}>><<.|?>>
Meeting with {p} and {p} in {c} on <<Tuesday|Monday|{d}>> about <<release {v}|the budget|hiring>>.
<<Who is|Have you met|Do you know|Have you seen|What does|Where is|Is>> {p}<<?| these days?| still working at {o}?>>
{p} <<flew|drove|moved|travelled|went>> to {c} <<on Friday morning|last week|in {d}|with {f}>>.
<<Mr.|Mrs.|Ms.|Dr.|Prof.|Professor|Sir|Captain|Judge|Senator|Officer|Nurse|Coach|Father|Sister|Uncle|Aunt>> {l} <<said|told us|asked whether|mentioned that|confirmed>> <<the report is late|he would call back|she had no objection>>.
<<My wife|My husband|My son|My daughter|My boss|My manager|My colleague|My brother|My sister|My friend|Our neighbour|Her lawyer|His doctor|Our CEO|The landlord|My landlord>> {p} <<lives in {c}|will sign the form|lost the card|needs a new password|was in the accident|is allergic to nuts>>.
<<We need|I need|I would like>> to add {p} as a <<beneficiary|guardian|second driver|user>> on <<my account|policy {x}|the contract>>.
{f} and {f} <<are getting married|broke up|had a baby|met at {o}>> <<in {c}|last year|>>.
{f}'s <<laptop|report|birthday|flight|code review|pull request>> is <<late|on {d}|ready|in {c}>>.
{p}'s <<account|phone number|address|contract|salary>> <<is|was changed to>> {x}.
<<Write a letter to|Draft an email to|Summarise the performance of|Translate this for|Write a recommendation for|Prepare an offer for>> {p} <<from {o}|in {c}|about the move to {k}|, who lives in {c}>>.
<<What's|What is>> the best way to <<get|travel|drive>> from {c} to {c}?
<<Is it|Is there>> <<safe to travel to|cheap to live in|a train to|snow in>> {k}<<?| in winter?>>
{p} (born {d} in {c}, {k}) <<is|was>> a <<painter|footballer|physicist|politician|singer|judge|nurse>> <<who lived in {c}|and studied in {c}|married to {p}>>.
{p} from {o} <<signed|rejected|reviewed>> the <<offer|contract|proposal>> <<in {c}|on {d}|yesterday>>.
The <<patient|applicant|tenant|defendant|witness|customer|employee|candidate|student>>, {p}, <<lives at {a}|was born on {d}|came from {c}|called from {h}>>.
<<Applicant|Patient|Customer|Employee|Tenant|Student>> {p} (<<SSN|ID|passport>> {x}) lives <<at {a}|in {c}, {k}>>.
The new address of {p} is {a}. Please update <<account|ticket>> {x}.
<<According to|Ask|Thanks to|Credit goes to|Kudos to|Shout-out to|I met|I know>> {p}<<| and {p}>>, <<the bug is fixed|the price went up|we won>>.
Was {p} in {c} <<when it happened|last night>>, or was that {f}?
{l} and {l} <<argued|agreed|wrote>> that <<the model fails|prices rise>> (see {l} et al., 2019).
I think {l} <<is wrong|was right>>; {f} <<told me|says>> so in {c}.
{f}: <<hey are you there|yes|I'll do it|can you send me the file>>?\\n{f}: <<no|sure, one sec|ok thanks>> {f}
[{t}] {f}: <<did you talk to|where is|ask>> {f}<<?|>>\\n[{t}] {f}: <<in {c}|not yet|he left>>
@{u} <<can you|please>> <<ask|ping>> {p}, <<she|he>> <<knows|wrote>> the <<parser|billing code>>.
<<yo|hey|lol|omg|wow>> {f} <<is so funny|ur the best|where are you|miss u>>
<<love|miss|poor|lil|go|thanks|sorry|happy birthday|rip|hi>> {f}<<!!!|!| lol|...>>
{p} is <<the best|my hero|so cute|such a liar>>
The <<owner|manager|waiter|dentist|mechanic|instructor>>, {f}, was <<very helpful|rude|great with kids>>. <<Highly recommend|Ask for {f}|Thank you {f}>>!
<<Great service|Awful place|Best tacos|Five stars>> in {c}! {f} <<at the front desk|behind the bar>> <<was amazing|ignored us>>.
Dr. {l} and <<his|her>> staff are <<wonderful|professional>>. I drove from {c} to see <<him|her>>.
<<President|Prime Minister|Secretary|Chancellor|King|Queen|Pope|Minister>> {l} <<met|visited|criticised>> {p} in {c}<<.|, {k}.>>
{c}, {k} - <<The government|Police|Officials>> said on <<Monday|Thursday>> that {p} had <<left|arrived in|fled>> {k}.
<<Troops|Protests|Elections|Floods|Talks>> in {k} <<and {k}|near {c}|continued>> after {p} <<resigned|spoke|was killed in {c}>>.
{p} (<<left|right|centre>>) with {p} in {c}.
<<Directed by|Written by|Starring|Produced by|Music by|Photo by|Story by|Interview with>> {p}<<| and {p}>>
{p}, {n}, <<of {c}|from {c}, {r}>>, was <<charged with|arrested for>> fraud.
<<North|South|East|West|Northern|Southern>> of {c}, the road to {c} crosses into {k}.
{c} is <<a town|a city|a village|a municipality|the capital>> in <<{r}|{k}|the {r} region of {k}>>.
Let's <<meet|have lunch>> in {c} with {f} and {f} {l}.
my name is {f} <<and i live in {c}|and im from {c}>>
i <<talked|spoke>> to {p} from {c} <<yesterday|today>>, <<she|he>> wants <<a refund|to cancel>>
They <<had|invited|hired>> <<6|four|three people>>: {f}, {f}, {f}, {f} and {f}.
<<Don't go|Come on|Wake up|Well done|Happy birthday|Thank you|I'm sorry>>, {f}<<!|.|, please.>>
<<Was|Is>> it <<a done thing|over>> between <<him|her>> and {f}'s <<kid|sister|friend>>?
Have you been to a {p} <<concert|show|lecture>> <<before|in {c}>>?
What's your <<last name|first name|name>>? {l}
<<Her|His>> maiden name is {l}, <<she|he>> was born in {c}.
<<Why is|When is|What if|How old is>> {f} <<so late|coming|angry with {f}>>?
{p}, a <<spokesman for|professor at|resident of>> <<{o}|{c}|{k}>>, said <<Tuesday|Friday>>. "<<It's sad|We won>>," {l} <<said|added>>.
The {l} <<family|administration|case|trial|campaign|theory>> <<is|was>> <<in the news|controversial>>. {l} <<denied it|had no comment>>.
<<Israel|Iran|Iraq|Jordan|Chad|Georgia|Syria|Turkey|Kenya|China|India>> <<and|with|against>> {k} <<signed|rejected>> the <<treaty|claims>>; <<U.S.|US|UN|EU>> <<troops|officials|citizens>> <<left|arrived in>> {c}.
The <<war in|fate of|people of|economy of|trip to|north of|government of|border with|embassy in>> {k} <<and {k}|>> <<is|was>> <<in doubt|a success>>.
<<In|From|To|Across|Near|Outside|Around>> {c}, {p} <<found|opened>> a <<bakery|museum|school>>.
The <<nearest|best|old>> <<park|hotel|station|airport|museum|beach>> <<in|to|near>> {c} <<is closed|is great>>.
Stayed in {c} <<for a week|in December>>, <<loved it|it rained>>. <<Next stop|Then|Now>>: {c}.
<<Albums|Books|Films>> by {p} and {p} were <<released|praised>> in {k} <<by {o}|>>. {l} <<was born|lives|grew up>> in {c}, {r}.
{p} <<succeeded|defeated|married|met|replaced|wrote to|was influenced by|studied under>> {p} in {n}. {l} <<died|retired|moved>> in {c} in {n}.
{p}, {p}, {l}, {p} and {p} <<played|starred|voted>>. {l} <<scored|won>>.
<<Congressman|Governor|Mayor|Justice|Gen.|Sen.|Rep.|Col.|Lt.|Sgt.|Rev.|PM|MP>> {p} <<of {r}|from {c}>> <<voted against|supports>> the bill<<|, said {l}>>.
<<the game|my class|dinner>> <<with|without>> {f} <<was|is>> <<fun|boring>>, {f} <<didn't show up|cried>>
i <<saw|met|love>> {p} <<in {c}|on tv>> <<lol|omg|!!>>
is {c} <<nice|safe|far from {c}>>? im <<going to|moving to|from>> {c}, {r}
any <<good|cheap>> <<hotels|food>> in {c}<<?| or {c}?>>
{c}, {r} <<{n}|>>
{p} lives <<at|in>> {a}, {c}
<<Thanks from|Booked with|Ask for>> {f}
{f} - the <<owner|cook|barber>>, <<does an amazing job|knows exactly what you want>>.
i am not going unless {f} <<promises|pays>>, <<max|tell>> and {f} <<are|is>> waiting
<<go ahead and forward|please send|give it>> to {f} if you <<are ready|can>>.
<<The president of|A man from|People in|Life in|Back in>> {k} <<said|was|is>> <<nothing|ill|hard>>, a {m} <<newspaper|official>> <<reported|said>>.
The {m} <<leader|president|singer|writer|student>> {p} <<arrived in|left>> {c} <<on Monday|>>.
""".strip().splitlines()

_RECORD = """
{{"id": "{x}", "name": "{p}", "email": "{e}", "phone": "{h}", "city": "{c}"}}
{{"first_name": "{f}", "last_name": "{l}", "country": "{k}", "age": {n}}}
{{"customer": {{"full_name": "{p}", "date_of_birth": "{d}", "address": {{"city": "{c}", "state": "{r}", "country": "{k}"}}}}, "trace_id": "{x}"}}
{{"firstName":"{f}","lastName":"{l}","userName":"{u}","active":true}}
{{"author": {{"name": "{p}", "email": "{e}"}}, "committer": "{p}", "version": "{v}"}}
{{"contact": "{p}", "location": "{c}, {k}", "notes": "Spoke with {f} on {d}"}}
{{"role": "user", "content": "Hi, I am {p} and I need help with my order {x}"}}
{{"assignee": "{p}", "reporter": "{p}", "status": "Open", "priority": "High", "summary": "Login fails in {c}"}}
[{{"name": "{p}", "score": {n}}}, {{"name": "{p}", "score": {n}}}, {{"name": "{p}", "score": {n}}}]
name,email,phone,city\\n{p},{e},{h},{c}\\n{p},{e},{h},{c}\\n{p},{e},{h},{c}
id;first_name;last_name;country\\n{n};{f};{l};{k}\\n{n};{f};{l};{k}
id,surname,given,dob\\n{n},{l},{f},{d}\\n{n},{l},{f},{d}
"{q}",{n},"{c}",{d}\\n"{q}",{n},"{c}",{d}
{p}|{x}|{d}|{e}|{h}|{a}
{p}\\t{e}\\t{c}\\t{n}\\n{p}\\t{e}\\t{c}\\t{n}
| id | name | city |\\n|---|---|---|\\n| {n} | {p} | {c} |\\n| {n} | {p} | {c} |
| {p} | {e} | {h} |
 {n} | {p}   | {c}   | {d}
INSERT INTO <<users|customers|patients|employees>> (id, name, email, city) VALUES ({n}, '{p}', '{e}', '{c}');
UPDATE <<users|accounts>> SET name = '{p}', country = '{k}' WHERE id = {n};
SELECT * FROM <<customers|people>> WHERE last_name = '{l}' AND first_name = '{f}' AND city = '{c}';
<person><name>{p}</name><email>{e}</email><city>{c}</city></person>
<patient name="{p}" dob="{d}" id="{x}"/>
<given>{f}</given>\\n<family>{l}</family>\\n<country>{k}</country>
<td>{p}</td><td>{c}</td><td>{n}</td>
<li>{p} - <a href="mailto:{e}">{e}</a></li>
customer:\\n  name: {p}\\n  email: {e}\\n  city: {c}\\n  country: {k}
- name: {p}\\n  role: <<admin|developer|owner>>\\n- name: {p}\\n  role: viewer
contact: {p} <{e}>\\nmaintainer: {p}\\nregion: eu-west-1
first_name: {f}\\nlast_name: {l}\\nbirthplace: {c}
customer={p} email={e} dob={d} plan=pro order={x}
user="{p}" id={x} city="{c}" action=login
name={f}&surname={l}&city={c}&ref={x}
GET /api/<<user|profile|search>>?name={p}&email={e}&phone={h}
full_name="{p}"; account={x}
<<Name|Full name|Customer|Patient|Employee|Client|Contact|Cardholder|Account holder|Beneficiary|Author|Owner|Reviewer|Assignee|Reporter|Manager|Signed|Witness|Passenger|Guest|Tenant|Applicant|Teacher|Prepared by|Approved by|Recipient|Payee|Attn>>: {p}
<<Name|Patient|Employee|Passenger>>: {q}
<<Surname|Last name|Family name|Nachname|Nom|Apellido|Cognome|Maiden name>>: {l}\\n<<First name|Given name|Vorname|Prénom|Nombre|Nome>>: {f}
<<City|Town|Place of birth|Birthplace|Location|Country|Residence|Destination|Origin|Office|Site|Branch>>: <<{c}|{c}, {k}|{k}>>
Name: {p}  Date of birth: {d}  Place of birth: {c}  Nationality: {k}
Passport: {x}  Name: {p}
Driver's license {x}, DOB {d}, {p}
Card number: {x}, exp 09/27, holder {p}
Please wire the deposit to {x}, account holder {p}.
IBAN {x}, <<holder|beneficiary|in the name of>> {p}, {c}
Shipping address:\\n{p}\\n{a}
Bill to:\\n{p}\\n{o}\\n{a}\\n{k}
{p}\\n{a}
{p}\\n\\n{c}\\n{k}
Employee record: {p} - Email: {e} - Phone: {h} - SSN: {x}
User profile: {p} | {e} | {h}
Emergency contact: {p} (<<wife|husband|mother|son>>), {h}
Ticket {x} <<opened by|assigned to|escalated to|closed by>> {p} <<in {c}|on {d}>>
<<Booking|Reservation|Appointment>> {x} for {p}, {n} nights in {c}, {k}, arriving {d}
Flight {x} {c} - {c}, passenger {q}
References:\\n1. {p}, {o}, {h}\\n2. {p}, {o}, {h}
Invoice {x}\\nCustomer: {p}\\nCity: {c}\\nTotal: {n} EUR
city,name,phone\\n{c},{p},{h}\\n{c},{p},{h}\\n{c},{p},{h}
id,name,dob,country\\n{n},{p},{d},{k}\\n{n},{p},{d},{k}\\n{n},{p},{d},{k}
"{x}","{p}","{e}","{h}","{c}","{k}"\\n"{x}","{p}","{e}","{h}","{c}","{k}"
{x};{p};{h};{c}\\n{x};{p};{h};{c}
first,last,email,phone,town\\n{f},{l},{e},{h},{c}\\n{f},{l},{e},{h},{c}
Please update the <<record|account|file|details>> of {p}: new <<address|phone|city>> <<{a}|{h}|{c}>>. <<Ticket|Case>> {x}.
<<account number|routing number|policy>> {x} for {p}
<<SSN|DNI|SIN|NINO>>: {x}, please <<verify|check>> it for {p}.
[{p}]: <<Hi, I noticed|Thank you. My>> <<a charge|account>> {x}.\\n\\n[Agent {p}]: Hello <<Mr.|Ms.>> {l}, I can help.
<<provider|patient|user|customer|sender|author|owner|driver>>={f} {l}&id={x}
{{"provider": {{"name": "{p}", "employee_id": "{x}"}}, "patient": {{"name": "{p}", "city": "{c}"}}}}
{{"users": [{{"name": "{p}", "location": "{c}"}}, {{"name": "{p}", "location": "{c}, {k}"}}]}}
{{"displayName": "{p}", "givenName": "{f}", "surname": "{l}", "officeLocation": "{c}"}}
patients:\\n  - {{name: {p}, city: {c}}}\\n  - {{name: {p}, city: {c}}}
[contact]\\nname = "{p}"\\nemail = "{e}"\\ncity = "{c}"
NAME={p}\\nCITY={c}\\nUSER={u}
config = \x01"patient_name": "{p}", "mrn": "{x}", "city": "{c}"\x02
BEGIN:VCARD\\nFN:{p}\\nN:{l};{f};;;\\nADR:;;{a};{c};;;{k}\\nEND:VCARD
{d} | {p} | {c} | {n}.00\\n{d} | {p} | {c} | {n}.50
1. {p} ({c})\\n2. {p} ({c})\\n3. {p} ({k})
- {p}: {h}\\n- {p}: {h}\\n- {p}: {h}
* {p}, {o}\\n* {p}, {o}
Lot {n}, buyer {p}, seller {p}, {c}
""".strip().splitlines()

_CLINIC = """
<<Patient|Pt|PATIENT>>: {p} | DOB: {d} | MRN: {x}\\n<<Provider|Attending|Referring Physician|Surgeon|Ordered by>>: Dr. {p}\\n\\n{l} <<reports nausea|tolerated the procedure well|denies chest pain|presented with fever>>. Follow-up with Dr. {l} in 2 weeks.
<<RE|Re|Regarding>>: {p} (DOB: {d}, MRN: {x})\\n\\nDear Dr. {p},\\n\\n<<I am writing to refer my patient,|Thank you for seeing>> {p}, <<for evaluation of|who suffers from>> <<Asthma|Parkinson's disease|Major Depressive Disorder|Atrial Fibrillation>>. {l} is <<a 62-year-old|an otherwise healthy adult>> from {c}.\\n\\nSincerely,\\nDr. {p}
DISCHARGE SUMMARY\\n\\nPatient Name: {p}\\nAdmitted: {d}\\nHospital: <<Memorial Regional Medical Center|St. Mary's General Hospital|University Clinic of {c}>>\\n\\nHOSPITAL COURSE: <<Mr.|Mrs.|Ms.>> {l} was started on <<Lisinopril|Metformin|Sertraline>> 20mg.
<<Mr.|Mrs.|Ms.|Miss>> {l} is a {n}-year-old <<man|woman|teacher|retired nurse>> from {c} with a history of <<hypertension|Crohn's disease|Type 2 Diabetes>>.
DR: Good morning, {f}. How are you feeling?\\n\\nPT: <<Not great, doctor|Better, Dr. {l}>>.\\n\\nDR: Any pain, {f}?
Electronically signed by {p}, <<MD|RN|DO|PhD>> on {d}
Nurse {f} {l} <<notified|called>> Dr. {l} at {t}. Family (<<daughter|son|wife>> {f}) at bedside.
Lab results for {p} (MRN {x}), ordered by Dr. {p} at {o}
<<Mr.|Mrs.|Ms.|Prof.>> {l} (DOB: {d}) <<presented|readmitted|was discharged>>. <<Relapse detected|Initial consultation|Stable>>. <<Wife|Husband|Daughter>> {p} notified.
CHIEF COMPLAINT: {p}, {n} y/o, <<cough|back pain>>. Lives with <<son|partner>> {f} in {c}.
Pathologist: {p}, M.D.\\nReceived: {d}\\nSpecimen from {l}, {f}
<<Therapist|Caregiver|Midwife|GP>> {p} called re {f}; <<{l} refused|agreed to>> <<treatment|transfer to {c}>>.
""".strip().splitlines()

_DEVELOP = """
// TODO({u}): ask {f} about the cache
# <<Written|Reviewed|Reported|Suggested|Contributed>> by {p}, {d}
/* Author: {p} <{e}> */
 * @author {p} <{e}>
Author: {p} <{e}>\\nDate:   {d} {t}\\n\\n    Fix null check in parser
Co-authored-by: {p} <{e}>
Signed-off-by: {p} <{e}>
Reviewed-by: {p} <{e}>
Copyright (c) {n} {p}
commit {x}\\nMerge: {x}\\nAuthor: {p} <{e}>
assert user.name == "{p}"
user = User(name="{p}", city="{c}")
person = Person(first_name='{f}', last_name='{l}')
names = ["{f}", "{f}", "{f}", "{f}"]
people = ["{p}", "{p}"]
const customer = {{ name: '{p}', country: '{k}' }};
println!("Hello, {{}}!", "{f}");
expect(screen.getByText("{p}")).toBeInTheDocument();
{d} {t} INFO [auth] login ok user="{p}" ip=10.0.0.7 session={x}
{d} {t} ERROR could not send mail to {p} <{e}>: timeout after {n}ms
{d}T{t}Z WARN payment declined customer="{p}" order={x}
[INFO] Processing request for {p} (id {x})
logger.info(f"Processing request for {p}")
The <<crash|bug|outage>> was reported by {p} from {o} (ticket {x}); {f} <<reproduced it on staging|has a fix>>.
As {f} noted in the review, the lock is taken twice. <<Thanks {f}|cc {f} {l}>>.
Fixes a race <<found by|reported by|debugged with>> {p}.
git commit --author="{p} <{e}>" -m "Update docs"
drwxr-xr-x 2 {u} staff 4096 <<Jan|Mar|Oct>> 12 {t} src
## <<Credits|Authors|Team|Contact|Maintainers>>\\n\\n- {p}\\n- {p}\\n- {p} ({o}, {c})
<<logger.warning|console.log|print|raise ValueError>>("<<Customer|User|Patient>> {p} <<not found|has no address in {c}>>")
# {f} <<said|thinks|noticed>> this <<breaks|is slow>> on <<Windows|staging>>, see <<{x}|mail from {p}>>
@<<given|pytest.mark.parametrize>>("name", ["{p}", "{p}"])
  "author": "{p} <{e}> (https://example.org)",
  "contributors": ["{p} <{e}>", "{p}"],
authors = ["{p} <{e}>", "{p} <{e}>"]
* {d} {p} <{e}> - {v}-1\\n- Update to {v}
{x} ({p} {d} {t} +0200 {n})     return None
Merged <<by|on behalf of>> {p} <<after review by {p}|>>
#{n} <<opened|closed|commented>> by {f} {l} <<yesterday|on {d}>>
git log --format='%an': {p}, {p}, {p}
{d} {t} [worker] <<delivery|shipment|appointment>> for {p} in {c} <<failed|delayed|ok>> attempt={n}
""".strip().splitlines()

_LANGUAGES = """
Sehr <<geehrter Herr|geehrte Frau>> <<{l}|{p}|Dr. {l}>>, <<Ihre Rechnung {x} geht an {e}|vielen Dank für Ihre Nachricht|wir haben Ihren Antrag erhalten>>.\\n\\nMit freundlichen Grüßen\\n{p}
<<Hallo|Liebe|Lieber|Servus|Guten Tag>> {f},\\n\\n<<danke für deine Mail|anbei das Protokoll|können wir morgen telefonieren>>? {f} <<kommt aus {c}|ist in {c}|hat mit Herrn {l} gesprochen>>.\\n\\n<<Viele Grüße|LG|Beste Grüße|Gruß>>\\n{f}
<<Ich heiße|Mein Name ist|Ich bin>> {p}, <<wohne in {c}|ich komme aus {k}|geboren am {d} in {c}>> und <<brauche Hilfe|erreichbar unter {h}>>.
<<Herr|Frau>> {l} <<hat gestern angerufen|ist im Urlaub|wohnt in {c}|fährt nach {c}>>. Bitte <<Herrn|Frau>> {l} informieren.
Die Besprechung mit {p} und {p} findet in {c} statt.
<<Bonjour|Salut|Cher|Chère|Bonsoir>> {f},\\n\\n<<merci pour votre message|je vous confirme le rendez-vous|voici le document>>. <<M.|Mme|Monsieur|Madame>> {l} <<vous appellera|sera à {c} lundi>>.\\n\\n<<Cordialement|Bien à vous|Amicalement|À bientôt>>,\\n{p}
<<Bonjour, je m'appelle|Je suis|Ici>> {p}, <<mon numéro est {h}|et j'habite à {c}|je viens de {c}>>.
<<Le dossier de|La facture de|Le contrat de|L'adresse de>> {p} <<est incomplet|a été envoyée à {c}>>. <<Monsieur|Madame>> {l} <<habite en {k}|est né à {c}>>.
<<Hola|Estimado|Estimada|Querido|Buenos días>> {f},\\n\\n<<gracias por tu mensaje|le escribo por la factura {x}|adjunto el informe>>. <<El Sr.|La Sra.|Don|Doña>> {l} <<llegará a {c}|vive en {c}|le llamará>>.\\n\\n<<Saludos|Un abrazo|Atentamente|Un saludo>>,\\n{p}
<<Hola, soy|Me llamo|Mi nombre es>> {p}. <<Mi correo es {e}|Vivo en {c}|Nací en {c}>> <<y mi teléfono {h}|.>>
La reunión con {p} y {p} será en {c}, {k}.
<<Ciao|Gentile|Caro|Cara|Buongiorno>> {f},\\n\\n<<grazie per la tua mail|in allegato il documento>>. <<Il signor|La signora|Il dott.>> {l} <<arriva a {c}|abita a {c}>>.\\n\\n<<Cordiali saluti|A presto|Distinti saluti>>,\\n{p}
<<Mi chiamo|Sono>> {p}, <<abito a {c}|sono nato a {c} il {d}>> e <<lavoro per {o}|il mio numero è {h}>>.
<<Beste|Hallo|Geachte heer|Geachte mevrouw>> {l},\\n\\n<<bedankt voor uw bericht|hierbij de factuur>>. {p} <<belt u morgen|woont in {c}>>.\\n\\n<<Met vriendelijke groet|Groeten>>,\\n{p}
<<Mijn naam is|Ik ben>> {p} en ik woon in {c}.
<<Olá|Prezado|Prezada|Caro|Bom dia>> {f},\\n\\n<<obrigado pela mensagem|segue o documento>>. <<O Sr.|A Sra.|O senhor>> {l} <<mora em {c}|chega a {c}>>.\\n\\n<<Atenciosamente|Abraços|Cumprimentos>>,\\n{p}
<<Meu nome é|O meu nome é|Eu sou|Chamo-me>> {p}, <<moro em {c}|nasci em {c}>>, telefone {h}.
<<Szanowny Panie|Szanowna Pani|Cześć|Dzień dobry>> {f},\\n\\n<<dziękuję za wiadomość|w załączeniu faktura>>. <<Pan|Pani>> {l} <<mieszka w {c}|będzie w {c}>>.\\n\\n<<Pozdrawiam|Z poważaniem>>,\\n{p}
<<Nazywam się|Jestem>> {p}, mieszkam w {c}.
<<Hej|Bästa>> {f},\\n\\n<<tack för ditt mejl|här är rapporten>>. {p} <<bor i {c}|ringer dig imorgon>>.\\n\\n<<Med vänliga hälsningar|Hälsningar>>,\\n{p}
<<Jag heter|Jeg hedder|Jeg heter|Minun nimeni on>> {p} <<och bor i {c}|og bor i {c}|ja asun kaupungissa {c}>>.
<<Jmenuji se|Volám sa|Zovem se|Mă numesc|A nevem|Benim adım|Nama saya|Ang pangalan ko ay|Jina langu ni|Tôi tên là|Meno sebe>> {p}, {c}.
<<Merhaba|Sayın|Dobrý den|Dragă|Kedves|Xin chào|Yth. Bapak|Selamat pagi>> {f}, <<teşekkürler|děkuji|mulțumesc|köszönöm|terima kasih>>.\\n{p}
<<Контакт|Имя|Клиент|Пациент>>: {p}, <<город {c}|телефон {h}>>
<<Меня зовут|Здравствуйте, это>> {p}, <<я живу в городе {c}|мой номер {h}>>.
Kunde: {p}, wohnhaft in {c}, <<Vertrag|Rechnung>> {x}. Ansprechpartner ist <<Frau|Herr>> {l}.
<<Anna und|Mein Mann|Unser Nachbar|Die Chefin>> {f} <<fährt mit {f} nach {c}|hat {p} in {c} getroffen>>.
Le patient {p}, né le {d} à {c}, est suivi par le Dr {l}.
El paciente {p}, nacido en {c} el {d}, fue atendido por la Dra. {l}.
Il paziente {p}, nato a {c}, è seguito dal dottor {l}.
O cliente {p}, nascido em {c}, foi atendido por {f}.
Klient {p} z miasta {c} rozmawiał z <<panem|panią>> {l}.
De heer {l} uit {c} sprak met {p}; <<mevrouw|dhr.>> {l} was er niet bij.
<<Reunião|Meeting|Rendez-vous|Termin|Cita|Afspraak|Spotkanie|Möte|Appuntamento>> <<com|mit|avec|con|met|z|med>> {p} <<em|in|à|en|w|i|a>> {c}, {d}
<<Nachname|Naam|Nome|Nombre|Namn|Navn|Nimi|Jméno|Név|Ad|Nume|Imię|Ім'я>>: {p}
<<Wohnort|Ville|Ciudad|Città|Stad|Cidade|Miasto|Ort|By|Kaupunki|Město|Şehir|Oraș>>: {c}
""".strip().splitlines()

_NOTHING = """
The <<Python|React|Docker|Kubernetes|Django|Postgres|Redis|Kafka|Terraform|Jenkins>> <<Client|Server|Plugin|Operator|Library>> is <<slow|broken|great>> on <<Linux|Windows|Ubuntu|Debian|Android|Chrome>>.
<<Use|Install|Try|Open>> <<Visual Studio Code|Google Chrome|Microsoft Word|Adobe Photoshop|Apache Kafka|Red Hat|GitHub Actions|Jira|Slack|Excel>> and <<press Enter|click Save|select Export>>.
# <<Getting Started|Quick Start|Table of Contents|Release Notes|Known Issues|Breaking Changes|Upgrade Guide|Code of Conduct|Best Practices>>
## <<Installation|Usage|Configuration|License|Contributing|Changelog|Frequently Asked Questions|Running Tests>>
class <<Handler|Parser|Model|Meta|Field|Widget|Robin|Mercury|Victoria|Jordan|Phoenix>>(<<Base|Object|Model>>):
<<Error|Warning|Note|Tip|Info|Fatal|Debug>>: <<Connection refused|Permission denied|File not found|Unexpected token|Invalid argument|Out of memory>>
<<Happy|Merry>> <<Christmas|New Year|Easter|Monday|Birthday>> <<everyone|to all|from {o}>>!
<<On|By|Since|Until>> <<Monday|Friday|January|March|May|June|August>> <<we ship|the team meets|the release is due>>.
Returns <<True|None|False|a Response|an Iterator>> if the <<Request|Session|Context|Token>> is <<valid|open>>.
<<Will|May|Can|Could|Should>> this <<work|break>>? <<Mark|Grant|Chase|Drop|Pick|Frank|Rich|Sandy|Major>> <<the line|a row|access|changes>> <<first|now>>.
The <<Bill|Will|Grant|Mark|Bond|Hill|Park|Rose|Grace|Hope|Faith>> was <<passed|signed|given>> in <<May|June|April>>.
{o} <<reported|announced|sold|bought>> <<earnings|shares|a factory>> <<in the third quarter|this year>>.
<<Does|How does|Why does>> {o} <<ship to|have an office in|operate in>> {k}?
We use the <<Gaussian|Bayesian|Laplace|Fourier|Markov|Euler|Newton>> <<transform|prior|method|kernel>> here.
The <<Internet|Web|Bible|Government|Senate|Congress|Parliament|Court|Navy|Army>> is <<big|old|divided>>.
<<English|German|French|Chinese|American|European|Russian|Muslim|Christian|Jewish>> <<food|history|people|language|films>> <<is|are>> <<great|long|old>>.
Status: <<Open|Closed|In Progress|Done>>  Priority: <<High|Low|Medium>>  Type: <<Bug|Story|Epic|Task>>
<<SELECT|CREATE TABLE|ALTER TABLE|DROP INDEX|GRANT ALL>> <<orders|users|Sessions>>;
import {{ <<Component|Injectable|Router|Observable|Grid|Card>> }} from '<<core|rxjs|ui>>';
<<Monday|Tuesday|Sunday>>: <<Gym|Lunch|Standup|Retro|Planning>>\\n<<Wednesday|Friday>>: <<Review|Demo|Dentist>>
<<Great|Amazing|Awesome|Terrible|Horrible|Best|Worst>> <<Service|Food|Place|Staff|Pizza|Experience|Customer Service>><<!|.|>>
I <<love|hate|need>> <<Python|Rust|Netflix|Pizza|Coffee|God|Tesla|Minecraft|Star Wars|Harry Potter books|iPhones>>.
<<Yes|No|Ok|Thanks|Sure|Hello|Hi|Sorry|Please>><<!|.|,>> <<I|We|They|You>> <<Agree|Know|Think So|will do it>>.
<<Please|Kindly>> <<Note|Read|Sign|Return>> The <<Attached|Enclosed>> <<Form|Agreement|Invoice>>
CAN I SPEAK TO A <<REAL PERSON|MANAGER>>?!
THIS IS <<NOT|VERY>> <<FUNNY|IMPORTANT|GOOD>>, <<PLEASE CALL ME|STOP NOW>>
<<Ich|Wir|Sie>> <<brauche|haben|sind>> <<Hilfe|Zeit|Urlaub|Fragen>> mit <<der Rechnung|dem Vertrag|dem Server>>.
<<Je|Nous|Vous>> <<voudrais|avons|êtes>> <<annuler|changer>> <<la commande|le contrat>> <<Merci|Bonjour>>.
<<Quiero|Necesito|Puede>> <<cancelar|cambiar>> <<el pedido|la factura>>. <<Gracias|Por favor>>
{d} {t} <<INFO|WARN|ERROR|DEBUG>> [<<main|worker-3|http-nio-8080|scheduler>>] <<com.example.App|OrderService|kafka.Consumer>> - <<Started|Stopped|Retrying|Connection reset|Cache miss>> in {n} ms
Traceback (most recent call last):\\n  File "/app/main.py", line {n}, in <module>\\n    raise ValueError("Bad Value")\\nValueError: Bad Value
<<Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{n}.0 Safari/537.36|curl/8.4.0>>
<<GET|POST|PUT>> /<<v1|api>>/<<orders|items>>/{x} HTTP/1.1\\nHost: api.example.com\\nUser-Agent: Client/{v}\\nAccept: application/json
MIT License\\n\\nPermission is hereby granted, free of charge, to any person obtaining a copy
<<Tylenol|Lisinopril|Metformin|Ibuprofen>> 20mg <<daily|twice a day>> for <<Asthma|Migraine|Type 2 Diabetes|Bell's palsy>>. <<Follow-up in 2 weeks|Continue Current Medication>>.
PROGRESS NOTE\\nDepartment: <<Internal Medicine|Cardiology|Oncology>>\\nSUBJECTIVE: <<No acute distress|Stable>>\\nPLAN: Continue.
The <<Handler|Visitor|Factory|Observer>> <<Pattern|Class|Interface>> <<is used|calls>> <<Accept|Visit|Create>>.
<<Accept|Content-Type|Set-Cookie|Last-Modified|User-Agent|X-Request-Id|Cache-Control>>: <<application/json|text/html|no-cache>>
 * @param {{<<Object|Array|Function|String>>}} <<value|iteratee|callback>> <<The|A>> <<value|function>> to <<check|invoke>>.
const <<Button|Header|Layout|Card>> = (props) => <Link to="/">Home</Link>;
:class:`<<Session|Response|Command|Context>>` <<Returns|Raises|Yields>> <<TypeError|a Mapping>>. Added in Version {v}.
type <<User|Order|Person|Customer>> struct {{ Name string; City string }}
lorem ipsum dolor sit amet <<consectetur|inceptos|lacinia>> <<justo|lectus>> libero
users = [<<{{ 'user': 'a', 'age': 36 }}|User(), User()>>]
[<<Express|Lodash|Click|Flask|Jinja|Werkzeug>>](https://example.com) is a <<Library|Framework>> for <<Node|Python|Web Servers>>.
<<sk|pk|AKIA|h1:|sha512->><<Ab3Xz|FRyon|Ejr>>{x}<<+G5/Ejr=|Xq/Tom=|==>>
<<Mercury|Venus|Mars|Saturn|Jupiter>> is <<a planet|in the fourth house>>. <<Hurricane|Storm>> <<warnings|season>> <<ended|began>>.
The <<Palestinian|Israeli|Iraqi|Spanish|Thai|Sunni|Shiite>> <<leadership|territories|people|contingents|government>> <<met|agreed>>.
<<Name|Title|Email|Phone|Address|City|Country|Date|Subject|From|To>>,<<Status|Type|Value|Amount|Email|Notes>>
<<Pepsi|Coke|Toyota|Lexus|Honda|BMW|iPhone|Mustang|Xbox|PlayStation|Nokia|Kindle>> <<is|was>> <<cheap|great>> but <<the service|my car>> <<broke|died>>.
<<The|Some|Many|Most|Two>> {m} <<people|troops|officials|cities|films|dreams|regions|insurgents|voters|students|women>> <<left|voted|were there|agree>>.
I <<speak|learn|like>> {m}<<, not {m}.| food.| music.|.>> <<It is easy.|No problem.>>
a {m} <<citizen|restaurant|grandmother|shepherd|car>>, <<the {m} government|{m} and {m} history|no {m} culture>>
The {m}s and the {m}s <<fought|made peace|signed>>. <<No|Any>> {m} <<contingent|vote|street>>?
<<a cup of joe|a bill of rights|mark my words|frank talks|will power|grant money|the art of war|a rose garden|jack of all trades|the moon|the sun>> <<and a snack|lol|please>>
<<Kitchen|Burger|Steak|Fish|Weed|Covert|Photos|Parking|Patio|Dessert>> <<puts out|is|was>> <<good|cold>> <<food|stuff>>.
<<Thx|Pls|Thank-You|Lol|Omg|FYI|P.S.|Btw|Cheers|Regards>> <<for sharing|see below|call me>>
<<Google|Yahoo|Honda|Valero|Exxon|Shell|TOVA|ISDA|NYMEX|CCGM|ENA>>, <<L.P.|Inc.|Corp.>> <<said|raised>> <<rates|prices>>.
""".strip().splitlines()

_QUESTIONS = """
<<Wie|Wo|Wann|Warum|Weshalb>> <<hat|wurde|ist|war>> {p} <<eigentlich|überhaupt|damals|auch|noch|schon>> <<berühmt geworden|nach {c} gezogen|als Lehrer gearbeitet|den Preis gewonnen|so beliebt|beruflich unterwegs>>?
<<Welche|Welches|Welcher>> <<Bücher|Roman|Gedichte|Lieder|Filme|Bilder|Werk|Stück|Oper|Erzählung|Dramen|Reden|Briefe|Aufsätze>> von {p} <<soll ich zuerst lesen|ist am bekanntesten|kennt man heute noch|wurde verfilmt|gehört zum Abitur|passt für den Unterricht>>?
<<Hat|War|Ist|Wurde>> {p} <<auch|wirklich|jemals|eigentlich|damals>> <<als Trainer|als Bürgermeisterin|in der Schweiz|in {c}|im Gefängnis|mit dem Zug>> <<erfolgreich|gewesen|unterwegs|bekannt|verhaftet worden>>?
<<Erklär mir|Erkläre|Beschreib mir|Zeig mir|Nenne mir>> <<bitte|kurz|mal>> <<den Unterschied zwischen|den Zusammenhang von|die Vorteile von>> <<Miete|Gesetz|Umsatz|Verein|Vertrag|Steuer|Strom|Bundestag|Haftung|Wetter|Pension>> und <<Pacht|Verordnung|Gewinn|Stiftung|Vereinbarung|Abgabe|Spannung|Bundesrat|Gewährleistung|Klima|Rente>>, <<so dass es meine Tochter versteht|für ein Kind in der Grundschule|in einfachen Worten|mit einem Beispiel aus dem Alltag|damit es mein Vater nachvollziehen kann|so wie es meine Schwester in der siebten Klasse braucht>>.
<<Wie funktioniert|Was macht|Was ist|Wozu dient>> <<der Algorithmus|das Verfahren|die Methode|ein Vergaser|eine Wärmepumpe|der Motor|das Herz|eine Datenbank|der Quicksort-Algorithmus|die Fourier-Transformation|die Euler-Formel>>? <<Bitte mit einer Zeichnung|Gern mit einem kurzen Beispiel|Bitte ohne Formeln|Mit einer Übung|Am besten mit einem Bild>> in <<Java|Python|einfacher Sprache|drei Sätzen>>.
<<Rezept|Ich suche ein Rezept|Zutaten|Einkaufsliste>> für <<Apfelstrudel|Rouladen|Linsensuppe|Käsespätzle|Königsberger Klopse|Kaiserschmarrn|Grüne Soße|Sauerbraten|Pfannkuchen>> mit <<Rotkohl|Sahne|Würstchen|Salat|Zwetschgen|Klößen|Vanillesoße>>, <<für vier Personen|für acht Gäste|für zwei Portionen|wie bei Großmutter|für eine große Familie>>.
Schreib mir <<eine kurze Rede|ein Gedicht|einen Aufsatz|eine Zusammenfassung|einen Vortrag|eine Einladung>> über <<{p}|die Französische Revolution|den Dreißigjährigen Krieg|die Weimarer Republik|das Bauhaus|die Rote Armee|den Kalten Krieg|die Berliner Mauer|den Schwarzen Tod|das Goldene Zeitalter|den Weißen Hai>> und <<{p}|die Folgen|das Leben auf dem Land|die Kirche|den Adel>> für <<die Schule|meinen Kurs|die Feier|den Unterricht>>.
Mein <<Sohn|Mann|Nachbar|Chef|Bruder|Vater|Hund|Lehrer>> und meine <<Tochter|Frau|Chefin|Schwester|Mutter|Katze|Lehrerin|Tante>> <<brauchen|haben|suchen|wollen>> <<eine Wohnung|neue Schuhe|den Führerschein|einen Termin|ein Fahrrad|Hilfe bei den Hausaufgaben|eine Versicherung>>.
<<wie lange fährt|wie viel kostet|wann geht>> <<der zug|der ice|der bus|die bahn|die fähre>> von {c} nach {c} <<und was kostet das|mit zwei kindern|am wochenende|ohne umsteigen>>
<<Die Kündigung|Der Mietvertrag|Das Protokoll|Der Bericht|Die Anzeige|Das Zeugnis|Der Antrag>> <<muss|soll|kann>> <<bis Freitag|bis Ende des Monats|vor dem Urlaub>> <<beim Amt|im Büro|bei der Hausverwaltung|in der Personalabteilung>> <<liegen|sein|abgegeben werden>>. <<Bitte|Danke>> <<um Rückmeldung|für die Hilfe|für Ihr Verständnis>>.
<<Formuliere|Übersetze|Kürze|Verbessere|Prüfe>> <<bitte den Satz|den Text|den Brief|diese Nachricht|die Bewerbung|das Anschreiben>>: <<Wir freuen uns auf Ihren Besuch|Die Lieferung ist beschädigt|Der Drucker im Flur druckt nicht|Am Montag bleibt die Praxis geschlossen|Die Heizung ist seit Weihnachten kaputt>>.
<<Gibt es|Kennst du|Empfiehl mir>> <<ein gutes Restaurant|ein Museum|einen Spielplatz|eine Wanderung|ein Hotel|einen Zahnarzt>> <<in der Nähe vom Bahnhof|am Stadtpark|in {c}|bei {c}>> <<für Kinder|mit Garten|für den Geburtstag|ohne Anmeldung>>?
<<Woran ist|Mit wem war|Gegen wen verlor>> {p} <<gestorben|verheiratet|das Endspiel|befreundet>>, und <<wer|wo>> war {p}?
Die <<Theorie|Formel|Musik|Philosophie|Politik|Malerei|Frau|Tochter>> von {p} <<gilt bis heute|wird oft missverstanden|ist schwer zu verstehen|gehört zur Romantik|hat Europa verändert>>.
<<Der Hausarzt|Die Versicherung|Das Finanzamt|Die Bank|Der Vermieter|Das Jobcenter>> <<verlangt|schickt|braucht|will>> <<eine Bescheinigung|die Unterlagen|einen Nachweis|den Bescheid|eine Vollmacht>>. <<Was tun|Wer hilft|Welche Frist gilt|Muss ich zahlen>>?
<<Pourquoi|Quand|Comment|Où>> {p} <<a-t-il|a-t-elle|est-il|est-elle>> <<quitté {c}|été condamné|devenue célèbre|gagné le prix|né|mort>> ?
<<Qui a gagné|Qui a inventé|Qui a écrit|Qui a peint|Qui a découvert|Qui a remporté>> <<la Coupe du monde|le Tour de France|la machine à vapeur|ce tableau|la Palme d'or|le Goncourt|le tournoi>> <<en {n}|l'an dernier>>, {p} ou {p} ?
<<Résume|Explique|Analyse|Compare|Présente|Commente>> <<le roman|la pièce|le poème|le tableau|la pensée|le film|l'œuvre|l'histoire>> <<de|d'>>{p} <<en dix lignes|en parlant du narrateur|pour un élève de troisième|sans jargon|en quelques mots>>.
<<Résume|Lis|Décris>> <<La Peste|Le Rouge et le Noir|Les Misérables|Le Petit Prince|Madame Bovary|L'Assommoir|L'Avare|La Chute>> de {p} <<en cinq lignes|pour demain|en insistant sur la fin>>.
<<Donne-moi|Écris|Propose|Trouve>> <<une recette de|une idée de|un plan pour|une lettre pour>> <<quiche lorraine|bœuf bourguignon|blanquette de veau|tarte Tatin|soupe à l'oignon|résilier un contrat|la crémaillère>> pour <<six personnes|huit amis|demain soir|le propriétaire|la mairie>>, <<sans lardons|avec des légumes|poliment|s'il te plaît>>.
<<Que voir|Que faire|Où manger|Où dormir>> à {c} en <<deux jours|une semaine|famille>> avec <<des enfants|ma mère|un petit budget>> ? On loge près de la <<gare|place|cathédrale|plage>> <<Saint-Jean|de la République|du Marché|centrale>>.
<<Quelle est|C'est quoi>> la différence entre <<le Code pénal|la Cour de cassation|le Sénat|un bail|une amende|la retraite|le théorème de Thalès|un virus>> et <<le Code civil|le Conseil d'État|l'Assemblée nationale|un contrat|une peine|le chômage|celui de Pythagore|une bactérie>> <<pour un apprenti|en droit français|dans le privé>> ?
<<comment|pourquoi|quand est-ce que>> <<on peut|je dois|il faut>> <<convertir une liste en texte|changer le mot de passe|envoyer la lettre|appeler le médecin|remplir le formulaire>> <<avec python|sans perdre les données|avant la fin du mois|pour mon fils|pour la banque>>
<<écris|envoie|prépare|rédige>> <<un sms|un message|un mail|une carte|une réponse>> <<à|pour>> {f}<<, | : | qui | que |. >><<je suis en retard|on se voit demain|la réunion est reportée|fête son anniversaire|part à la retraite>>
<<Mon fils|Ma fille|Mon voisin|La gardienne|Le plombier|Notre médecin|Ma belle-mère>> <<a perdu|cherche|ne trouve plus|a rendu>> <<les clés|son cartable|la facture|le chargeur|sa carte>> <<depuis lundi|au bureau|dans le train>>.
<<¿Por qué|¿Cómo|¿Cuándo|¿Dónde>> <<es tan importante|murió|nació|ganó el premio|escribió esa novela|pintó ese cuadro>> {p}<<?| para la literatura?| según los historiadores?| en la guerra?| sin ayuda?>>
<<¿Qué pintó|¿Qué escribió|¿Qué descubrió|¿Qué compuso|¿Qué dijo>> {p} <<en|sobre|para|cuando>> <<su última época|la corte|el exilio|la guerra|era joven|la ópera>> y <<quién era|qué opinaba|cómo murió>> {p}?
<<Explícame|Resume|Cuéntame|Describe>> <<la Ley de Contratos del Estado|la Constitución de 1978|la Guerra Civil|el Siglo de Oro|la Ley de Arrendamientos Urbanos|el Impuesto sobre la Renta|el Código Penal|la Declaración de Derechos|el Estatuto de los Trabajadores|la Reforma Agraria>> <<en palabras sencillas|para un niño de diez años|para una empresa pequeña de {c}|en pocas líneas|sin tecnicismos>>.
<<¿Cuál es|¿Qué es>> <<la diferencia entre|mejor,>> <<la tortilla|el jamón|un autónomo|una hipoteca|el subjuntivo|el ayuntamiento>> <<y|o>> <<el flan|el chorizo|una empresa|un préstamo|el indicativo|la diputación>>?
<<¿Quién es|¿quién ganó|¿quién marcó>> <<la infanta|el rey|la reina|más goles|el balón de oro|la liga|el mundial>>, {p} o {p}?
<<Organiza|Planea|Prepara|Propón>> <<un viaje|una excursión|una fiesta|una cena>> de <<tres días|dos semanas|cumpleaños>> por {c} y {c} en <<agosto|primavera|Semana Santa>>, <<con poco dinero|con niños|sin coche>>.
<<dile a|escribe a|manda un mensaje a|avisa a|llama a|recuérdale a>> {f} <<que llego tarde|que compre pan|por favor|que mañana no hay clase|para que venga>>
<<Don|Doña|El señor|La señora|El doctor|La vecina|D.|Dª>> {p} <<alquila su piso|vende el coche|ha perdido las llaves|quiere hablar contigo|no paga la comunidad>> <<a dos estudiantes|desde ayer|por las mañanas|>>.
<<Perché|Quando|Come|Dove>> {p} <<mette|scrive|lascia|dipinge|incontra|sceglie|perde>> <<la storia|il protagonista|la famiglia|la corte|il quadro|la guerra>> <<all'inizio|nel secondo atto|all'Inferno|in esilio|a {c}|nella Divina Commedia>>?
<<Qual è|Come si fa|Mi dai>> <<la ricetta|il sugo|la vera ricetta|la preparazione>> <<della parmigiana|dell'amatriciana|del tiramisù|della focaccia|delle lasagne|della pizza|del ragù>>? <<Con|Senza>> <<il burro|la panna|la cipolla|il guanciale|l'aglio>> o con <<l'olio|lo strutto|il latte|le uova>>?
<<Come si scrive|Scrivi|Mi serve|Spiegami>> <<una funzione che legge da|una classe che scrive in|un programma per|una query su|un test per>> <<un file|una tabella|un database|una lista|un modulo>> <<in Python|con pytest|in Java|SQLite|senza cicli>>?
<<Spiegami|Riassumi|Raccontami>> la <<differenza fra|storia di|nascita di>> <<la legge di bilancio|il Senato|l'Unità d'Italia|il Rinascimento|la Camera|il Parlamento|il Partito Comunista>> e <<il decreto|la Repubblica|la Resistenza|il Risorgimento|la Costituzione>>, in <<poche righe|parole semplici|tre punti>>.
<<scrivi|manda|prepara>> <<gli auguri|un messaggio|un biglietto|due righe|una mail>> <<per|a>> {f} che <<oggi compie gli anni|si sposa|parte domani|è in ospedale|ha vinto il concorso>>
<<Mio figlio|Mia sorella|Il vicino|La maestra|Il condominio|Il medico>> <<ha perso|vuole|chiede|deve>> <<il quaderno|una ricevuta|la caldaia nuova|pagare la multa|il certificato>> <<da ieri|per la scuola|entro lunedì>>.
<<Waarom|Wanneer|Hoe|Waar>> <<is|werd|heeft>> {p} <<eigenlijk|ooit|vroeger>> <<beroemd geworden|naar {c} verhuisd|de prijs gewonnen|overleden>>?
<<Leg uit|Vertel|Beschrijf>> <<het verschil tussen|het verband tussen>> <<een huurder|de Eerste Kamer|de gemeente|een vaste baan|de AOW>> en <<een koper|de Tweede Kamer|de provincie|een uitzendbaan|het pensioen>> <<voor mijn dochter|in gewone taal|met een voorbeeld>>.
<<stuur|app|mail|bel|schrijf>> {f} <<een appje|even|een berichtje|dat ik later kom|een kaartje>> <<dat de sleutel onder de mat ligt|over morgen|alsjeblieft|want ik sta in de file>>
Maak {n} euro over <<naar {x}|>> <<t.n.v.|ten name van|op naam van>> {p}. <<Maak hier een betaalverzoek van|Zet het in de agenda|Graag voor vrijdag>>.
<<Mijn buurman|De juf|Onze hond|De huisarts|Mijn moeder>> <<wil|zoekt|heeft>> <<een nieuwe fiets|de sleutels|een brief van de gemeente|hulp met de belasting>>. <<Recept|Lijst>> voor <<stamppot|erwtensoep|pannenkoeken|appeltaart>> voor <<vier personen|het hele gezin>>.
<<Porque|Quando|Como|Onde>> <<é que|>> {p} <<escreveu esse livro|ficou famoso|ganhou o prémio|morreu|nasceu>><<?| em {c}?| na época da ditadura?>> <<Explica|Resume>> <<a Lei do Inquilinato|a Revolução dos Cravos|o Código do Trabalho|a Guerra Fria>> para <<a minha filha|um aluno|uma loja pequena>>.
<<manda|escreve|envia>> <<uma mensagem|um recado|um e-mail>> <<para|pra|ao|à>> {f} <<dizendo que|a dizer que|que>> <<vou chegar tarde|a reunião mudou|não posso ir>>
<<Dlaczego|Kiedy|Gdzie|Jak>> {p} <<wyjechał do {c}|zdobyła nagrodę|napisał tę książkę|umarła|został prezydentem>>? <<Wyjaśnij|Opisz>> <<różnicę między umową a zleceniem|ustawę o ochronie danych|powstanie warszawskie|drugą zasadę dynamiki>> <<mojemu synowi|prostymi słowami|w trzech zdaniach>>.
<<napisz|wyślij>> <<sms|wiadomość|maila|list|życzenia>> <<do|dla>> {i}<<, że | : |. |>><<spóźnię się|spotkanie jest jutro|dziękuję za pomoc|proszę o telefon>>
<<Napisz|Przygotuj|Popraw>> <<wypowiedzenie umowy|pismo|zaproszenie|podanie|reklamację>> <<dla|do|od>> <<pana|pani|>> {i}, <<{c}|ul. Polna {n}|pracownika firmy {o}>>.
<<Varför|När|Hur|Hvorfor|Hvornår>> <<blev|fick|dog|vann>> {p} <<så känd|priset|i {c}|mesterskabet>>? <<Förklara|Forklar>> <<skillnaden mellan|forskellen mellem>> <<lag|riksdagen|avtal>> <<och|og>> <<förordning|regeringen|kontrakt>> <<för min dotter|for min søn>>.
<<text|message|ping|whatsapp|tell|remind>> {f} <<that i'm running late|the key is under the mat|about dinner|to bring the cake|i'll call at six|we can't make it>>
<<write|send|draft>> <<a text|an sms|a message|a card|a note|birthday wishes>> <<to|for>> {f}<<, | saying | that |: |. >><<i'll be late|happy birthday|get well soon|the kids are asleep|thanks for the cake>>
- {p} <<good|strong|weak|late|absent|chatty|excellent>> <<in|at|for>> <<maths|reading|PE|the retro|spelling>>\\n- {p} <<needs glasses|forgot the form|was quiet|is doing fine>>
- {p} <<brings|pays|cooks|drives|owes>> <<salad|half|on Friday|the children|20>>\\n- {f} <<can't come|is veggie|maybe>>
<<Who|When|How|Why>> <<did|was|is>> {p} <<write|win|lose|marry|beat|compose|paint|influence>> {p}<<?| in {n}?| at the end?>> <<And who played|What about>> {p}<<?| and {p}?>>
<<What happens|Who dies|Who wins>> at the end of <<Great Expectations|The Crucible|Wuthering Heights|Heart of Darkness|Brave New World|The Bell Jar|Lord of the Flies|Cats|Chicago|Frozen>>? <<And what does|Why does>> {p} <<say|do|leave>>?
<<Compare|Explain|Implement|What is>> the <<Kruskal|Strassen|Huffman|Viterbi|Dijkstra>> <<algorithm|method|procedure>> <<in|for>> <<Rust|Go|Haskell|Perl|Fortran|Kotlin>>, and <<when would I use it|how fast is it|why does it work>>?
My <<Jenkins|Circle CI|Ansible|Vagrant|Terraform>> <<build|chart|pipeline|recipe|job|release>> <<fails|hangs|is slow>> <<since the upgrade|on Monday|with exit code {n}>>.
<<Can I freeze|How do I make|What goes with|Is it hard to cook>> <<Coq au Vin|Beef Stroganoff|Peach Melba|Chicken Kiev|Eggs Benedict|Boeuf Bourguignon|Crêpes Suzette|Beef Wellington|Tarte Tatin|Chateaubriand|Pavlova|Lobster Thermidor|Waldorf Salad|Cobb Salad|Saltimbocca>><<?| for six people?| without butter?>>
<<Can|Could|Will|Should>> {f} <<review|test|fix|read>> my <<Python|Java|SQL|React>> <<code|script|query|branch>><<?| before Friday?>> <<Ask|Tell>> {f} in <<accounting|the data team|QA>> about the <<code|pipeline|build>>.
{f} <<wrote|broke|merged|reviewed|deployed>> the <<Python script|docker image|Java build|pipeline|Helm chart|tests>><<.| and {f} paid for lunch.>> I gave the <<docker image|laptop|repo>> to {f}.
hi {f}, the <<java build is red|python job failed|deploy is done|pipeline hangs>>. My colleague {f} <<knows Haskell and Java|works with Rust|likes Python|teaches C++>>.
<<Write|Compose|Make up>> <<a rap|a poem|a song|a story|a limerick>> <<about|for>> {f}<<, | in the style of {p}, | like {p} >><<please|for her birthday|with a happy end>>.
Dr <<{l}|{l} at the clinic>> said my <<leg|tooth|knee>> is fine, but {l} <<and|or>> {l} <<at the office|from the bank>> want <<a letter|proof>>. The {l}s are <<here|coming|on holiday>>.
{l} v. {l} is <<my divorce case|the case of my neighbour|still open>>; <<Mr|Mrs|Ms>> {l}'s <<homework|lawyer|appeal>> is late.
<<Notulen|Verslag>>: {p} <<opent om acht uur|zit voor|is verhinderd>>, {p} <<leest de begroting voor|is tegen|doet de kas>>. <<{p} sluit af.|Maak er lopende tekst van.|Zet dit in een tabel.>>
<<Protokoll|Ergebnis der Sitzung>>: {p} <<stellt den Haushalt vor|eröffnet|begrüßt die Gäste>>, {p} <<widerspricht|schreibt mit|übernimmt die Kasse>>. <<Bitte in ganzen Sätzen.|{p} fehlt entschuldigt.>>
<<Compte rendu|Procès-verbal>> : <<présents|présentes>> {p}, {p} ; <<absent|excusée>> {p}. <<Mets-le au propre.|{p} prend la parole.>>
<<Acta|Resumen>>: {p} <<abre la sesión|presenta las cuentas>>, {p} <<vota en contra|toma nota>>. {f} y {f} <<se abstienen|llegan tarde|celebran sus bodas de plata en {c}|invitan a la cena>>.
<<Verbale|Riassunto>>: {p} <<propone di rinviare|apre la seduta>>, {p} <<è contrario|prende nota>>. {f} e {f} <<sono assenti|festeggiano sabato>>.
<<Protokół|Notatka>>: {p} <<otwiera zebranie|przedstawia budżet>>, {p} <<jest przeciw|notuje>>. {f} i {f} <<są nieobecni|biorą ślub>>.
<<Haz una invitación|Prepara un brindis|Escribe un verso>>: {f} y {f} <<celebran|se casan|esperan un bebé>> <<en {c}|en mayo|el sábado>>.
<<Write a card to|Invite|Thank|Dinner with|We met>> <<our neighbours|our friends|the parents|my in-laws>>, the {l}s<<, | for | from {c} >><<on Friday|looking after the cat|next week>>.
<<write a thank-you note to|a card for|we are invited by>> our <<neighbours|friends>> the {l}s <<for looking after the dog|on saturday|for the party>>
<<corrige este mensaje|arregla el texto|corrígeme esto>> porfa: <<hola|oye|buenas>> {f} <<soy tu vecina|soy el del segundo|te escribo por la reunión>> <<me puedes devolver la escalera|llámame luego>>
<<corrige ce message|corrige stp>> : <<salut|coucou|bonjour>> {f} <<c'est la voisine|je passe demain>> <<tu peux garder le chat|à quelle heure>>
<<korrigier das mal|mach das freundlicher>>: <<hallo|hey|moin|na>> {f} <<ich bins die nachbarin|kannst du mir die leiter leihen>>
Bill to: {p}, {n} {l} <<Bend|Hollow|Trace|Court>>, {c}\nAmount: {n} USD
The <<Church|Crown|Court|Bank|Union|House|Bishop|Pope|King|Bible>> <<opposed|condemned|owned|supported>> <<the plan|the trial|science>>, <<the Church|the Crown|the House>> <<said|lost>>.
Used to map <<Latin|Greek|Cyrillic|Arabic>> <<Unicode|Extended|Supplement>> letters to basic <<Latin|Greek>> <<letters|block>>. Re-quote the given <<URI|URL|UUID|DNS|JWT|CSV>>, <<cj|uri|obj|req|res>>.
lorem ipsum donec dui duis egestas eget eleifend luctus maecenas magna magnis malesuada massa mattis mauris metus molestie mollis montes
<<Why did|When did|How did>> <<the Church|the Crown|the Senate|the Pope|the King|the Empire|the Union|the Allies|the Party>> <<oppose|banish|elect|support>> {p}<<?| and {p}?>>
""".strip().splitlines()


def _ready(row: str) -> str:
    """With real line breaks, and literal braces out of the way; closing ones are paired from the right."""
    row = row.replace("\\n", "\n").replace("\\t", "\t").replace("{{", "\x01")
    return row[::-1].replace("}}", "\x02")[::-1]


TEMPLATES: dict[str, tuple[str, ...]] = {
    name: tuple(map(_ready, rows))
    for name, rows in (
        ("mail", _MAIL), ("talk", _TALK), ("record", _RECORD), ("clinic", _CLINIC), ("develop", _DEVELOP),
        ("languages", _LANGUAGES), ("nothing", _NOTHING), ("questions", _QUESTIONS),
    )
}  # fmt: skip
"""By kind of text. A literal brace is `\\x01` or `\\x02` until the gaps are filled."""

DEMONYMS = """
American|British|English|French|German|Italian|Spanish|Portuguese|Dutch|Belgian|Swiss|Austrian|Polish|Czech|Slovak|Hungarian|Romanian|Bulgarian
|Greek|Turkish|Russian|Ukrainian|Belarusian|Lithuanian|Latvian|Estonian|Finnish|Swedish|Norwegian|Danish|Icelandic|Irish|Scottish|Welsh|Serbian
|Croatian|Bosnian|Slovenian|Albanian|Macedonian|Georgian|Armenian|Iranian|Iraqi|Syrian|Lebanese|Israeli|Palestinian|Jordanian|Saudi|Yemeni|Kuwaiti
|Egyptian|Libyan|Tunisian|Algerian|Moroccan|Sudanese|Ethiopian|Somali|Kenyan|Nigerian|Ghanaian|South African|Indian|Pakistani|Bangladeshi|Afghan
|Nepalese|Sri Lankan|Chinese|Japanese|Korean|Vietnamese|Thai|Indonesian|Malaysian|Filipino|Australian|Canadian|Mexican|Cuban|Haitian|Jamaican
|Brazilian|Argentine|Chilean|Peruvian|Colombian|Venezuelan|European|African|Asian|Arab|Arabic|Muslim|Islamic|Sunni|Shiite|Shia|Christian|Catholic
|Protestant|Orthodox|Jewish|Hindu|Buddhist|Sikh|Kurdish|Latin|Hispanic|Latino|Texan|Californian|Alaskan|Westerner|Victorian|Roman|Gothic|Marxist
|Republican|Democrat|Nazi|Communist|Soviet|Balinese|Hawaiian|Bavarian|Catalan|Basque|Breton|Flemish|Persian|Ottoman
""".replace("\n", "").split("|")
"""What people and languages are called: no findings, although names of places are hidden in them."""

FIRMS = """
Acme Corp|Globex|Initech|Umbrella Inc.|Stark Industries|Wayne Enterprises|Hooli|Vandelay Industries|Northwind Traders|Contoso Ltd|Müller GmbH
|Smith & Sons|Ellis-Ingram|Johnson Group|Baker, Hill and Partners|Deutsche Bank|First National Bank|Goldman Sachs|Morgan Stanley|Google|Microsoft
|Amazon|Siemens AG|Volkswagen|Toyota|Enron|General Electric|Johnson & Johnson|Ernst & Young|McKinsey|Wells Fargo|Procter & Gamble|Ford Motor Company
|Walmart|Home Depot|Whole Foods|Trader Joe's|Wendy's|Stanford University|University of Chicago|Harvard Medical School|MIT|NASA|FBI|United Nations
|European Union|Red Cross|Greenpeace|New York Times|Washington Post|Wall Street Journal|BBC|CNN|Reuters|Associated Press|Manchester United
|Real Madrid|Boston Red Sox|Chicago Bulls|Supreme Court|Department of Energy|Ministry of Finance|Lincoln Elementary School|St. John's Hospital
|Mount Sinai Hospital|Martin Luther King High School|Bayern München|Société Générale|Banco Santander|Nestlé S.A.|Shell plc|Philips NV|Samsung|Sony
|Hewlett-Packard|JPMorgan Chase|Dow Jones|Standard & Poor's|Charles Schwab|Merrill Lynch|Arthur Andersen|PG&E|Southern California Edison
|Madison Square Garden|Taylor and Francis|Carter-Hughes|Lopez LLC|Nguyen Inc|Harris PLC|Garcia, Moore and Wood|Klein KG|Bauer AG & Co. KG
""".replace("\n", "").split("|")
"""Firms and bodies, some named after persons and places: no findings."""
