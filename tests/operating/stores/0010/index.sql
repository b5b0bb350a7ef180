BEGIN TRANSACTION;
CREATE TABLE arrivals (
	association VARCHAR(32) NOT NULL, 
	study_instance_uid VARCHAR(64) NOT NULL, 
	caller VARCHAR(255) NOT NULL, 
	sender VARCHAR(16) NOT NULL, 
	began_at DOUBLE NOT NULL, 
	latest_at DOUBLE NOT NULL, 
	ended_at DOUBLE, 
	instances INTEGER NOT NULL, 
	PRIMARY KEY (association, study_instance_uid)
);
CREATE TABLE bundles (
	name VARCHAR(64) NOT NULL, 
	"key" TEXT NOT NULL, 
	folded TEXT NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	location VARCHAR(80) NOT NULL, 
	size BIGINT NOT NULL, 
	mtime DOUBLE NOT NULL, 
	PRIMARY KEY (name, "key"), 
	CONSTRAINT uq_bundles_name UNIQUE (name, folded)
);
INSERT INTO "bundles" VALUES('lungs','net/model.bin','net/model.bin','9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c','9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c',7,0.0);
CREATE TABLE caller_rates (
	caller VARCHAR(255) NOT NULL, 
	tokens DOUBLE NOT NULL, 
	at DOUBLE NOT NULL, 
	PRIMARY KEY (caller)
);
CREATE TABLE commitments (
	sender VARCHAR(16) NOT NULL, 
	transaction_uid VARCHAR(64) NOT NULL, 
	caller VARCHAR(255) NOT NULL, 
	instances TEXT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	tries INTEGER NOT NULL, 
	created_at DOUBLE NOT NULL, 
	next_at DOUBLE NOT NULL, 
	PRIMARY KEY (sender, transaction_uid)
);
CREATE TABLE compute_sessions (
	id VARCHAR(36) NOT NULL, 
	caller VARCHAR(255) NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	route VARCHAR(255) NOT NULL, 
	image VARCHAR(255) NOT NULL, 
	created_at DOUBLE NOT NULL, 
	used_at DOUBLE NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_compute_sessions_caller UNIQUE (caller, name)
);
CREATE TABLE deliveries (
	id VARCHAR(36) NOT NULL, 
	caller VARCHAR(255) NOT NULL, 
	run_key VARCHAR(64) NOT NULL, 
	study_instance_uid VARCHAR(64) NOT NULL, 
	destination VARCHAR(64) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	tries INTEGER NOT NULL, 
	leased BOOLEAN NOT NULL, 
	queued_at DOUBLE NOT NULL, 
	next_at DOUBLE NOT NULL, 
	ended_at DOUBLE, 
	outcome VARCHAR(64) NOT NULL, 
	PRIMARY KEY (id)
);
CREATE TABLE delivery_instances (
	delivery VARCHAR(36) NOT NULL, 
	sop_instance_uid VARCHAR(64) NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	outcome VARCHAR(64) NOT NULL, 
	PRIMARY KEY (delivery, sop_instance_uid), 
	FOREIGN KEY(delivery) REFERENCES deliveries (id) ON DELETE CASCADE
);
CREATE TABLE dicom_counts (
	caller VARCHAR(255) NOT NULL, 
	study_instance_uid VARCHAR(64) NOT NULL, 
	series_instance_uid VARCHAR(64) NOT NULL, 
	instances INTEGER NOT NULL, 
	oldest_at DOUBLE NOT NULL, 
	PRIMARY KEY (caller, study_instance_uid, series_instance_uid)
);
INSERT INTO "dicom_counts" VALUES('','1.2.826.0.1.3680043.8.498.52572205010205273629533996474300800436','1.2.826.0.1.3680043.8.498.30351028588337343731670999773031308102',3,1.79588051167267751689e+09);
CREATE TABLE dicom_instances (
	caller VARCHAR(255) NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	study_instance_uid VARCHAR(64) NOT NULL, 
	series_instance_uid VARCHAR(64) NOT NULL, 
	sop_instance_uid VARCHAR(64) NOT NULL, 
	held_at DOUBLE NOT NULL, 
	sop_class_uid TEXT NOT NULL, 
	instance_number TEXT NOT NULL, 
	attributes TEXT NOT NULL, 
	PRIMARY KEY (caller, sha256), 
	FOREIGN KEY(caller, sha256) REFERENCES holdings (caller, sha256) ON DELETE CASCADE
);
INSERT INTO "dicom_instances" VALUES('','15cb136f78c1bf7750a73298ec2c943a98ffc548d789d00631b320188d768514','1.2.826.0.1.3680043.8.498.52572205010205273629533996474300800436','1.2.826.0.1.3680043.8.498.30351028588337343731670999773031308102','1.2.826.0.1.3680043.8.498.15955703797269558788962283021482774736',1.79588051167267751689e+09,'1.2.840.10008.5.1.4.1.1.2','1','{"00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.2"]},"00080018":{"vr":"UI","Value":["1.2.826.0.1.3680043.8.498.15955703797269558788962283021482774736"]},"00200013":{"vr":"IS","Value":[1]},"00280010":{"vr":"US","Value":[34]},"00280011":{"vr":"US","Value":[40]},"00280100":{"vr":"US","Value":[16]}}');
INSERT INTO "dicom_instances" VALUES('','86b7814ec8cdc41023b6003083eafbf0d76a08d97501e9deac7ec6f507a43bcf','1.2.826.0.1.3680043.8.498.52572205010205273629533996474300800436','1.2.826.0.1.3680043.8.498.30351028588337343731670999773031308102','1.2.826.0.1.3680043.8.498.13369445468058159629307390146727716397',1.79588051167267751689e+09,'1.2.840.10008.5.1.4.1.1.2','2','{"00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.2"]},"00080018":{"vr":"UI","Value":["1.2.826.0.1.3680043.8.498.13369445468058159629307390146727716397"]},"00200013":{"vr":"IS","Value":[2]},"00280010":{"vr":"US","Value":[34]},"00280011":{"vr":"US","Value":[40]},"00280100":{"vr":"US","Value":[16]}}');
INSERT INTO "dicom_instances" VALUES('','96c53e88d61e1ad1ea6f78d2975df3097be6f49aa520f5adb68aa922840481eb','1.2.826.0.1.3680043.8.498.52572205010205273629533996474300800436','1.2.826.0.1.3680043.8.498.30351028588337343731670999773031308102','1.2.826.0.1.3680043.8.498.62233382638017936166357541652466425438',1.79588051167267751689e+09,'1.2.840.10008.5.1.4.1.1.2','3','{"00080016":{"vr":"UI","Value":["1.2.840.10008.5.1.4.1.1.2"]},"00080018":{"vr":"UI","Value":["1.2.826.0.1.3680043.8.498.62233382638017936166357541652466425438"]},"00200013":{"vr":"IS","Value":[3]},"00280010":{"vr":"US","Value":[34]},"00280011":{"vr":"US","Value":[40]},"00280100":{"vr":"US","Value":[16]}}');
CREATE TABLE dicom_series (
	caller VARCHAR(255) NOT NULL, 
	study_instance_uid VARCHAR(64) NOT NULL, 
	series_instance_uid VARCHAR(64) NOT NULL, 
	held_at DOUBLE NOT NULL, 
	modality TEXT NOT NULL, 
	series_description TEXT NOT NULL, 
	series_number TEXT NOT NULL, 
	performed_procedure_step_start_date TEXT NOT NULL, 
	performed_procedure_step_start_time TEXT NOT NULL, 
	scheduled_procedure_step_id TEXT NOT NULL, 
	requested_procedure_id TEXT NOT NULL, 
	attributes TEXT NOT NULL, 
	PRIMARY KEY (caller, study_instance_uid, series_instance_uid)
);
INSERT INTO "dicom_series" VALUES('','1.2.826.0.1.3680043.8.498.52572205010205273629533996474300800436','1.2.826.0.1.3680043.8.498.30351028588337343731670999773031308102',1.79588051167267751689e+09,'CT','','','','','','','{"00080060":{"vr":"CS","Value":["CT"]},"0020000E":{"vr":"UI","Value":["1.2.826.0.1.3680043.8.498.30351028588337343731670999773031308102"]}}');
CREATE TABLE dicom_studies (
	caller VARCHAR(255) NOT NULL, 
	study_instance_uid VARCHAR(64) NOT NULL, 
	held_at DOUBLE NOT NULL, 
	study_date TEXT NOT NULL, 
	study_time TEXT NOT NULL, 
	accession_number TEXT NOT NULL, 
	referring_physician_name TEXT NOT NULL, 
	referring_physician_name_ideographic TEXT NOT NULL, 
	referring_physician_name_phonetic TEXT NOT NULL, 
	study_description TEXT NOT NULL, 
	patient_name TEXT NOT NULL, 
	patient_name_ideographic TEXT NOT NULL, 
	patient_name_phonetic TEXT NOT NULL, 
	patient_id TEXT NOT NULL, 
	study_id TEXT NOT NULL, 
	attributes TEXT NOT NULL, 
	PRIMARY KEY (caller, study_instance_uid)
);
INSERT INTO "dicom_studies" VALUES('','1.2.826.0.1.3680043.8.498.52572205010205273629533996474300800436',1.79588051167267751689e+09,'','','','','','','','doe^jane','','','4711','','{"00100010":{"vr":"PN","Value":[{"Alphabetic":"Doe^Jane"}]},"00100020":{"vr":"LO","Value":["4711"]},"0020000D":{"vr":"UI","Value":["1.2.826.0.1.3680043.8.498.52572205010205273629533996474300800436"]}}');
CREATE TABLE holdings (
	caller VARCHAR(255) NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	sop_instance_uid VARCHAR(64) NOT NULL, 
	held_at DOUBLE NOT NULL, 
	PRIMARY KEY (caller, sha256), 
	CONSTRAINT uq_holdings_caller UNIQUE (caller, sop_instance_uid), 
	FOREIGN KEY(sha256) REFERENCES instances (sha256) ON DELETE CASCADE
);
INSERT INTO "holdings" VALUES('','96c53e88d61e1ad1ea6f78d2975df3097be6f49aa520f5adb68aa922840481eb','1.2.826.0.1.3680043.8.498.62233382638017936166357541652466425438',1.79588051167267751689e+09);
INSERT INTO "holdings" VALUES('','86b7814ec8cdc41023b6003083eafbf0d76a08d97501e9deac7ec6f507a43bcf','1.2.826.0.1.3680043.8.498.13369445468058159629307390146727716397',1.79588051167267751689e+09);
INSERT INTO "holdings" VALUES('','15cb136f78c1bf7750a73298ec2c943a98ffc548d789d00631b320188d768514','1.2.826.0.1.3680043.8.498.15955703797269558788962283021482774736',1.79588051167267751689e+09);
CREATE TABLE input_digests (
	id VARCHAR(64) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	used_at DOUBLE NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "input_digests" VALUES('b423c4281a07be692afea9d872bf64a6e57dd7cbbf8ddf987c10bc623d2c393c','8aafcf7c52ecefcd36c3baf9331bcc3b69ce500297c37726050a6157196df8d6',1.79588051171183848376e+09);
INSERT INTO "input_digests" VALUES('a854dfa3cfdd672d22ca000ec471253cc67ebaadcf779067fbb3c1decd52d98e','866c3c99be341d4a5170f987d3ccc1ff01b855038782e20377375e3cb1dcb2bb',1.79589233413838791843e+09);
CREATE TABLE instances (
	sha256 VARCHAR(64) NOT NULL, 
	location VARCHAR(80) NOT NULL, 
	sop_instance_uid VARCHAR(64) NOT NULL, 
	series_instance_uid VARCHAR(64) NOT NULL, 
	study_instance_uid VARCHAR(64) NOT NULL, 
	size BIGINT NOT NULL, 
	stored_at DOUBLE NOT NULL, 
	used_at DOUBLE NOT NULL, 
	PRIMARY KEY (sha256)
);
INSERT INTO "instances" VALUES('96c53e88d61e1ad1ea6f78d2975df3097be6f49aa520f5adb68aa922840481eb','96c53e88d61e1ad1ea6f78d2975df3097be6f49aa520f5adb68aa922840481eb','1.2.826.0.1.3680043.8.498.62233382638017936166357541652466425438','1.2.826.0.1.3680043.8.498.30351028588337343731670999773031308102','1.2.826.0.1.3680043.8.498.52572205010205273629533996474300800436',3660,1.79588051167267751689e+09,1.79589233412932300568e+09);
INSERT INTO "instances" VALUES('86b7814ec8cdc41023b6003083eafbf0d76a08d97501e9deac7ec6f507a43bcf','86b7814ec8cdc41023b6003083eafbf0d76a08d97501e9deac7ec6f507a43bcf','1.2.826.0.1.3680043.8.498.13369445468058159629307390146727716397','1.2.826.0.1.3680043.8.498.30351028588337343731670999773031308102','1.2.826.0.1.3680043.8.498.52572205010205273629533996474300800436',3660,1.79588051167267751689e+09,1.79589233412932300568e+09);
INSERT INTO "instances" VALUES('15cb136f78c1bf7750a73298ec2c943a98ffc548d789d00631b320188d768514','15cb136f78c1bf7750a73298ec2c943a98ffc548d789d00631b320188d768514','1.2.826.0.1.3680043.8.498.15955703797269558788962283021482774736','1.2.826.0.1.3680043.8.498.30351028588337343731670999773031308102','1.2.826.0.1.3680043.8.498.52572205010205273629533996474300800436',3660,1.79588051167267751689e+09,1.79589233412932300568e+09);
CREATE TABLE own_results (
	digest VARCHAR(64) NOT NULL, 
	made_at DOUBLE NOT NULL, 
	PRIMARY KEY (digest)
);
CREATE TABLE request_signatures (
	digest VARCHAR(64) NOT NULL, 
	until DOUBLE NOT NULL, 
	PRIMARY KEY (digest)
);
CREATE TABLE result_instances (
	result_id VARCHAR(64) NOT NULL, 
	position INTEGER NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	series_instance_uid VARCHAR(64) NOT NULL, 
	study_instance_uid VARCHAR(64) NOT NULL, 
	PRIMARY KEY (result_id, position), 
	FOREIGN KEY(result_id) REFERENCES results (id) ON DELETE CASCADE
);
INSERT INTO "result_instances" VALUES('35d281e509351f481df02bcbc2602d39775dcb7f26edf4256fa3a25f82854ea5',0,'15cb136f78c1bf7750a73298ec2c943a98ffc548d789d00631b320188d768514','1.2.826.0.1.3680043.8.498.30351028588337343731670999773031308102','1.2.826.0.1.3680043.8.498.52572205010205273629533996474300800436');
INSERT INTO "result_instances" VALUES('35d281e509351f481df02bcbc2602d39775dcb7f26edf4256fa3a25f82854ea5',1,'86b7814ec8cdc41023b6003083eafbf0d76a08d97501e9deac7ec6f507a43bcf','1.2.826.0.1.3680043.8.498.30351028588337343731670999773031308102','1.2.826.0.1.3680043.8.498.52572205010205273629533996474300800436');
INSERT INTO "result_instances" VALUES('35d281e509351f481df02bcbc2602d39775dcb7f26edf4256fa3a25f82854ea5',2,'96c53e88d61e1ad1ea6f78d2975df3097be6f49aa520f5adb68aa922840481eb','1.2.826.0.1.3680043.8.498.30351028588337343731670999773031308102','1.2.826.0.1.3680043.8.498.52572205010205273629533996474300800436');
CREATE TABLE results (
	id VARCHAR(64) NOT NULL, 
	caller VARCHAR(255) NOT NULL, 
	model VARCHAR(255) NOT NULL, 
	version VARCHAR(255) NOT NULL, 
	model_digest VARCHAR(64) NOT NULL, 
	weights_digest VARCHAR(64) NOT NULL, 
	parameters_digest VARCHAR(64) NOT NULL, 
	input_digest VARCHAR(64) NOT NULL, 
	output_digest VARCHAR(64) NOT NULL, 
	body_sha256 VARCHAR(64) NOT NULL, 
	location VARCHAR(80) NOT NULL, 
	parts TEXT NOT NULL, 
	size BIGINT NOT NULL, 
	seconds DOUBLE NOT NULL, 
	created_at DOUBLE NOT NULL, 
	used_at DOUBLE NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "results" VALUES('35d281e509351f481df02bcbc2602d39775dcb7f26edf4256fa3a25f82854ea5','','/same','1.0','6ade67b070fbda4193cb7e29aa8696bdb9d07911dec7474e8d91604e0bdcac63','','e07b8785cebb91f1f47a56a83566e642d089b412cec87f4b86f0df0cc77f6fbd','8aafcf7c52ecefcd36c3baf9331bcc3b69ce500297c37726050a6157196df8d6','d1cf955d64eb35d08bf8741fc1dd505f118e238395543e803ca49e69b497e1a4','d1cf955d64eb35d08bf8741fc1dd505f118e238395543e803ca49e69b497e1a4','35d281e509351f481df02bcbc2602d39775dcb7f26edf4256fa3a25f82854ea5','[["application/json", 257], ["application/binary", 4080]]',4337,3.1027603999973507598e-02,1.79588051176119828226e+09,1.79588051176119828226e+09);
CREATE TABLE rounds (
	id VARCHAR(32) NOT NULL, 
	caller VARCHAR(255) NOT NULL, 
	study_instance_uid VARCHAR(64) NOT NULL, 
	number INTEGER NOT NULL, 
	replaces INTEGER NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	content VARCHAR(64) NOT NULL, 
	instances INTEGER NOT NULL, 
	senders TEXT NOT NULL, 
	began_at DOUBLE NOT NULL, 
	latest_at DOUBLE NOT NULL, 
	ended_at DOUBLE, 
	due_at DOUBLE NOT NULL, 
	holder VARCHAR(32) NOT NULL, 
	stated TEXT NOT NULL, 
	verdicts TEXT NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_rounds_caller UNIQUE (caller, study_instance_uid, number)
);
CREATE TABLE routings (
	id VARCHAR(32) NOT NULL, 
	round VARCHAR(32) NOT NULL, 
	caller VARCHAR(255) NOT NULL, 
	rule VARCHAR(64) NOT NULL, 
	content VARCHAR(64) NOT NULL, 
	digests TEXT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	run VARCHAR(64) NOT NULL, 
	run_key VARCHAR(64) NOT NULL, 
	sentence TEXT NOT NULL, 
	tries INTEGER NOT NULL, 
	results INTEGER NOT NULL, 
	created_at DOUBLE NOT NULL, 
	ended_at DOUBLE, 
	due_at DOUBLE NOT NULL, 
	holder VARCHAR(32) NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT uq_routings_caller UNIQUE (caller, rule, content), 
	FOREIGN KEY(round) REFERENCES rounds (id) ON DELETE CASCADE
);
CREATE TABLE run_records (
	"key" VARCHAR(64) NOT NULL, 
	sequence INTEGER NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	at DOUBLE NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	location VARCHAR(80) NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	size BIGINT NOT NULL, 
	PRIMARY KEY ("key", sequence), 
	FOREIGN KEY("key") REFERENCES runs ("key") ON DELETE CASCADE
);
INSERT INTO "run_records" VALUES('d6aa164ee7363aa0aabfa5d5e85ab88827b988919f0038849ace258ad33d8e05',1,'input',1.79589233410536193847e+09,'','b5a527f41d5d0482fdc62cc7e2e53ac2fd68b0d5b46ee9fb2ad98fef77c42c20','6daf4912e0481e6637c605830a40dac16074977d53cb765bb9fa14d273adf6f0',237);
INSERT INTO "run_records" VALUES('d6aa164ee7363aa0aabfa5d5e85ab88827b988919f0038849ace258ad33d8e05',2,'state',1.79589233410536193847e+09,'queued','','',0);
INSERT INTO "run_records" VALUES('d6aa164ee7363aa0aabfa5d5e85ab88827b988919f0038849ace258ad33d8e05',3,'state',1.7958923341213068962e+09,'running','','',0);
INSERT INTO "run_records" VALUES('d6aa164ee7363aa0aabfa5d5e85ab88827b988919f0038849ace258ad33d8e05',4,'state',1.79589233416989326472e+09,'finished','','',0);
INSERT INTO "run_records" VALUES('d6aa164ee7363aa0aabfa5d5e85ab88827b988919f0038849ace258ad33d8e05',5,'result',1.79589233416989326472e+09,'','0b1d3ecd0e66026c509c9c845fe9fe9692a4d86735174e7e997213e10c64987b','fc28db2a4eb2323536d2e6b8ae2889ae5803fb878f0102f27a23a9ecf71c386e',4626);
CREATE TABLE run_studies (
	"key" VARCHAR(64) NOT NULL, 
	study_instance_uid VARCHAR(64) NOT NULL, 
	PRIMARY KEY ("key", study_instance_uid), 
	FOREIGN KEY("key") REFERENCES runs ("key") ON DELETE CASCADE
);
INSERT INTO "run_studies" VALUES('d6aa164ee7363aa0aabfa5d5e85ab88827b988919f0038849ace258ad33d8e05','1.2.826.0.1.3680043.8.498.52572205010205273629533996474300800436');
CREATE TABLE runs (
	"key" VARCHAR(64) NOT NULL, 
	caller VARCHAR(255) NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	route VARCHAR(255) NOT NULL, 
	body_digest VARCHAR(64) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	sequence INTEGER NOT NULL, 
	attempts INTEGER NOT NULL, 
	cancelling BOOLEAN NOT NULL, 
	holder VARCHAR(32) NOT NULL, 
	lease_until DOUBLE NOT NULL, 
	available_at DOUBLE NOT NULL, 
	created_at DOUBLE NOT NULL, 
	started_at DOUBLE, 
	ended_at DOUBLE, 
	status INTEGER NOT NULL, 
	reason VARCHAR(64) NOT NULL, 
	expired BOOLEAN NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "runs" VALUES('d6aa164ee7363aa0aabfa5d5e85ab88827b988919f0038849ace258ad33d8e05','','kept','/free','cc65290b98d0696eb17e8acce5d2472b440de25c791919a25961c77a9f29a786','finished',5,1,0,'',0.0,1.79589233410536193847e+09,1.79589233410536193847e+09,1.7958923341213068962e+09,1.79589233416989326472e+09,0,'',0);
CREATE TABLE session_executions (
	session VARCHAR(36) NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	stage VARCHAR(16) NOT NULL, 
	options TEXT NOT NULL, 
	run VARCHAR(64) NOT NULL, 
	"after" INTEGER NOT NULL, 
	created_at DOUBLE NOT NULL, 
	number INTEGER NOT NULL, 
	PRIMARY KEY (session, id), 
	FOREIGN KEY(session) REFERENCES compute_sessions (id) ON DELETE CASCADE
);
CREATE TABLE session_files (
	session VARCHAR(36) NOT NULL, 
	path VARCHAR(1024) NOT NULL, 
	location VARCHAR(80) NOT NULL, 
	sha256 VARCHAR(64) NOT NULL, 
	size BIGINT NOT NULL, 
	stored_at DOUBLE NOT NULL, 
	study_instance_uid VARCHAR(64) NOT NULL, 
	PRIMARY KEY (session, path), 
	FOREIGN KEY(session) REFERENCES compute_sessions (id) ON DELETE CASCADE
);
CREATE TABLE store_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT store_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "store_version" VALUES('0010');
CREATE TABLE webhooks (
	run_key VARCHAR(64) NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	origin VARCHAR(300) NOT NULL, 
	url TEXT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	tries INTEGER NOT NULL, 
	next_at DOUBLE NOT NULL, 
	outcome VARCHAR(32) NOT NULL, 
	PRIMARY KEY (run_key), 
	FOREIGN KEY(run_key) REFERENCES runs ("key") ON DELETE CASCADE, 
	UNIQUE (id)
);
CREATE INDEX ix_instances_study_instance_uid ON instances (study_instance_uid);
CREATE INDEX ix_instances_used_at ON instances (used_at);
CREATE INDEX ix_instances_series_instance_uid ON instances (series_instance_uid);
CREATE INDEX ix_holdings_sha256 ON holdings (sha256);
CREATE INDEX ix_holdings_held_at ON holdings (held_at);
CREATE INDEX ix_results_used_at ON results (used_at);
CREATE INDEX ix_results_created_at ON results (created_at);
CREATE INDEX ix_results_caller_created_at ON results (caller, created_at);
CREATE INDEX ix_result_instances_study_instance_uid ON result_instances (study_instance_uid);
CREATE INDEX ix_result_instances_series_instance_uid ON result_instances (series_instance_uid);
CREATE INDEX ix_bundles_sha256 ON bundles (sha256);
CREATE INDEX ix_input_digests_used_at ON input_digests (used_at);
CREATE INDEX ix_runs_ended_at ON runs (ended_at);
CREATE INDEX ix_runs_caller_created_at ON runs (caller, created_at);
CREATE INDEX ix_runs_state_created_at ON runs (state, created_at);
CREATE INDEX ix_run_records_location ON run_records (location);
CREATE INDEX ix_run_studies_study_instance_uid ON run_studies (study_instance_uid);
CREATE INDEX ix_webhooks_state_next_at ON webhooks (state, next_at);
CREATE INDEX ix_dicom_studies_study_date ON dicom_studies (caller, study_date, study_instance_uid);
CREATE INDEX ix_dicom_studies_patient_name ON dicom_studies (caller, patient_name, study_instance_uid);
CREATE INDEX ix_dicom_studies_patient_id ON dicom_studies (caller, patient_id, study_instance_uid);
CREATE INDEX ix_dicom_studies_accession_number ON dicom_studies (caller, accession_number, study_instance_uid);
CREATE INDEX ix_dicom_series_series_instance_uid ON dicom_series (caller, series_instance_uid);
CREATE INDEX ix_dicom_instances_study_instance_uid ON dicom_instances (caller, study_instance_uid, series_instance_uid, sop_instance_uid);
CREATE INDEX ix_dicom_instances_sop_instance_uid ON dicom_instances (caller, sop_instance_uid);
CREATE INDEX ix_arrivals_caller_study_instance_uid ON arrivals (caller, study_instance_uid);
CREATE INDEX ix_arrivals_latest_at ON arrivals (latest_at);
CREATE INDEX ix_commitments_state_next_at ON commitments (state, next_at);
CREATE INDEX ix_compute_sessions_used_at ON compute_sessions (used_at);
CREATE INDEX ix_session_files_study_instance_uid ON session_files (study_instance_uid);
CREATE INDEX ix_session_files_location ON session_files (location);
CREATE INDEX ix_request_signatures_until ON request_signatures (until);
CREATE INDEX ix_rounds_latest_at ON rounds (latest_at);
CREATE INDEX ix_rounds_state_due_at ON rounds (state, due_at);
CREATE INDEX ix_routings_round ON routings (round);
CREATE INDEX ix_routings_run_key ON routings (run_key);
CREATE INDEX ix_routings_state_due_at ON routings (state, due_at);
CREATE INDEX ix_deliveries_state_next_at ON deliveries (state, next_at);
CREATE INDEX ix_deliveries_study_instance_uid ON deliveries (study_instance_uid);
CREATE INDEX ix_deliveries_run_key ON deliveries (run_key);
CREATE INDEX ix_deliveries_ended_at ON deliveries (ended_at);
CREATE INDEX ix_delivery_instances_sha256 ON delivery_instances (sha256);
CREATE INDEX ix_dicom_instances_sop_class_uid ON dicom_instances (caller, sop_class_uid, study_instance_uid, series_instance_uid, sop_instance_uid);
CREATE INDEX ix_dicom_instances_instance_number ON dicom_instances (caller, instance_number, study_instance_uid, series_instance_uid, sop_instance_uid);
CREATE TRIGGER dicom_instances_added AFTER INSERT ON dicom_instances FOR EACH ROW BEGIN 
INSERT INTO dicom_counts (caller, study_instance_uid, series_instance_uid, instances, oldest_at)
VALUES (NEW.caller, NEW.study_instance_uid, NEW.series_instance_uid, 1, NEW.held_at)
ON CONFLICT (caller, study_instance_uid, series_instance_uid) DO UPDATE SET instances = dicom_counts.instances + 1,
oldest_at = CASE WHEN excluded.oldest_at < dicom_counts.oldest_at THEN excluded.oldest_at
ELSE dicom_counts.oldest_at END;
 END;
CREATE TRIGGER dicom_instances_removed AFTER DELETE ON dicom_instances FOR EACH ROW BEGIN 
UPDATE dicom_counts SET instances = instances - 1 WHERE caller = OLD.caller
AND study_instance_uid = OLD.study_instance_uid AND series_instance_uid = OLD.series_instance_uid;
 END;
COMMIT;
