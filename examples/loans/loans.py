"""A consumer credit decision on the German credit data: 1,000 real applicants, 20 columns.

A class of 1 means "bad risk, declined"; 0 means "good risk, granted". See NOTICE for the source of the data.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from threadpoolctl import threadpool_limits

DATA = Path(__file__).with_name("german_credit.csv")
GRANTED, DECLINED = 0, 1

# What an applicant states, column by column, as plain data.
#   type       "int" or "category" ("real" is allowed; this file has none)
#   low, high  bounds of a number, as the application form accepts them
#   levels     the values of a category, in their natural order where they have one
#   change     "free", "immutable", "up" or "down" (a category moves along its levels)
#   personal   whether the column is personal data
#   cost       what one change costs the applicant: hours per year, per 1,000 DM, per level or per switch
COLUMNS: dict[str, dict[str, Any]] = {
    "status_of_existing_checking_account": {
        "type": "category",
        "levels": [
            "no checking account",
            "... < 0 DM",
            "0 <= ... < 200 DM",
            "... >= 200 DM / salary assignments for at least 1 year",
        ],
        "change": "free",
        "personal": True,
        "cost": 3.0,
    },
    "duration_in_month": {
        "type": "int",
        "low": 4,
        "high": 72,
        "change": "free",
        "personal": False,
        "cost": 0.1,
    },
    "credit_history": {
        "type": "category",
        "levels": [
            "no credits taken/ all credits paid back duly",
            "all credits at this bank paid back duly",
            "existing credits paid back duly till now",
            "delay in paying off in the past",
            "critical account/ other credits existing (not at this bank)",
        ],
        "change": "immutable",  # the bank reads it from the credit bureau, not from the form
        "personal": True,
        "cost": 0.0,
    },
    "purpose": {
        "type": "category",
        "levels": [
            "business",
            "car (new)",
            "car (used)",
            "domestic appliances",
            "education",
            "furniture/equipment",
            "others",
            "radio/television",
            "repairs",
            "retraining",
        ],
        "change": "free",  # a mere statement: nobody checks it
        "personal": False,
        "cost": 0.5,
    },
    "credit_amount": {
        "type": "int",
        "low": 250,
        "high": 20_000,
        "change": "free",
        "personal": False,
        "cost": 0.001,
    },
    "savings_account_and_bonds": {
        "type": "category",
        "levels": [
            "unknown/ no savings account",
            "... < 100 DM",
            "100 <= ... < 500 DM",
            "500 <= ... < 1000 DM",
            "... >= 1000 DM",
        ],
        "change": "up",  # money can be borrowed for a day and shown; the bank already knows what was there
        "personal": True,
        "cost": 2.0,
    },
    "present_employment_since": {
        "type": "category",
        "levels": ["unemployed", "... < 1 year", "1 <= ... < 4 years", "4 <= ... < 7 years", "... >= 7 years"],
        "change": "up",  # time passes in one direction
        "personal": True,
        "cost": 6.0,
    },
    "installment_rate_in_percentage_of_disposable_income": {
        "type": "int",
        "low": 1,
        "high": 4,
        "change": "free",
        "personal": True,
        "cost": 2.0,
    },
    "personal_status_and_sex": {
        "type": "category",
        "levels": [
            "female : divorced/separated/married",
            "male : divorced/separated",
            "male : married/widowed",
            "male : single",
        ],
        "change": "immutable",
        "personal": True,
        "cost": 0.0,
    },
    "other_debtors_or_guarantors": {
        "type": "category",
        "levels": ["none", "co-applicant", "guarantor"],
        "change": "up",
        "personal": False,
        "cost": 4.0,
    },
    "present_residence_since": {
        "type": "int",
        "low": 1,
        "high": 4,
        "change": "up",
        "personal": True,
        "cost": 6.0,
    },
    "property": {
        "type": "category",
        "levels": [
            "unknown / no property",
            "car or other, not in attribute Savings account/bonds",
            "building society savings agreement/ life insurance",
            "real estate",
        ],
        "change": "up",
        "personal": True,
        "cost": 5.0,
    },
    "age_in_years": {
        "type": "int",
        "low": 18,
        "high": 100,
        "change": "immutable",
        "personal": True,
        "cost": 0.0,
    },
    "other_installment_plans": {
        "type": "category",
        "levels": ["none", "stores", "bank"],
        "change": "down",  # a plan can be paid off; opening one only hurts
        "personal": True,
        "cost": 3.0,
    },
    "housing": {
        "type": "category",
        "levels": ["for free", "rent", "own"],
        "change": "free",
        "personal": True,
        "cost": 8.0,
    },
    "number_of_existing_credits_at_this_bank": {
        "type": "int",
        "low": 1,
        "high": 4,
        "change": "immutable",  # the bank counts them itself
        "personal": True,
        "cost": 0.0,
    },
    "job": {
        "type": "category",
        "levels": [
            "unemployed/ unskilled - non-resident",
            "unskilled - resident",
            "skilled employee / official",
            "management/ self-employed/ highly qualified employee/ officer",
        ],
        "change": "up",
        "personal": True,
        "cost": 8.0,
    },
    "number_of_people_being_liable_to_provide_maintenance_for": {
        "type": "int",
        "low": 1,
        "high": 2,
        "change": "immutable",
        "personal": True,
        "cost": 0.0,
    },
    "telephone": {
        "type": "category",
        "levels": ["none", "yes, registered under the customers name"],
        "change": "up",
        "personal": True,
        "cost": 0.5,
    },
    "foreign_worker": {
        "type": "category",
        "levels": ["no", "yes"],
        "change": "immutable",
        "personal": True,
        "cost": 0.0,
    },
}

CATEGORIES = [name for name, column in COLUMNS.items() if column["type"] == "category"]
NUMBERS = [name for name, column in COLUMNS.items() if column["type"] != "category"]
IMMUTABLE = [name for name, column in COLUMNS.items() if column["change"] == "immutable"]
ONE_WAY = {name: column["change"] for name, column in COLUMNS.items() if column["change"] in ("up", "down")}
PERSONAL = [name for name, column in COLUMNS.items() if column["personal"]]


def frame() -> tuple[pd.DataFrame, pd.Series]:
    """All 1,000 applicants: the columns of COLUMNS, in that order, and 1 where the credit went bad."""
    table = pd.read_csv(DATA, keep_default_na=False)
    y = (table["creditability"] == "bad").astype(np.int64).rename("declined")
    return table[list(COLUMNS)], y


def split(seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series, pd.Series]:
    """Train and holdout applicants, 700 and 300, with the same share of bad risks: x, x, y, y."""
    x, y = frame()
    parts: list[Any] = train_test_split(x, y, test_size=300, random_state=seed, stratify=y)
    return parts[0], parts[1], parts[2], parts[3]


def fit(x: pd.DataFrame, y: pd.Series, seed: int = 0) -> Pipeline:
    """Train the deployed decision: ordinal codes and numbers into gradient boosting."""
    columns = ColumnTransformer(
        [("category", OrdinalEncoder(categories=_levels()), CATEGORIES), ("number", "passthrough", NUMBERS)]
    )
    model = HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=120, max_leaf_nodes=12, l2_regularization=1.0, random_state=seed
    )
    with threadpool_limits(1):  # a thousand rows are too few to share: threads that wait cost seconds
        return Pipeline([("columns", columns), ("model", model)]).fit(x, y)


def fit_logistic(x: pd.DataFrame, y: pd.Series, seed: int = 0) -> Pipeline:
    """Train the simpler variant: scaled numbers and one-hot categories into a logistic regression."""
    columns = ColumnTransformer(
        [
            # dropping the first level leaves the model identified, so its weights can be recovered exactly
            ("category", OneHotEncoder(categories=_levels(), drop="first", sparse_output=False), CATEGORIES),
            ("number", StandardScaler(), NUMBERS),
        ]
    )
    model = LogisticRegression(C=0.5, max_iter=2000, tol=1e-8, random_state=seed)
    return Pipeline([("columns", columns), ("model", model)]).fit(x, y)


def decide(model: Pipeline, x: pd.DataFrame) -> list[str]:
    """What the applicants are told."""
    return ["declined" if label == DECLINED else "granted" for label in model.predict(x)]


def save(path: str | Path, seed: int = 0, *, logistic: bool = False) -> Path:
    """Train on the fixed training split and write the deployed artifact with joblib."""
    x, _, y, _ = split(seed)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Whole or not at all: several processes may save it at once, and another may be reading it.
    part = target.with_name(f".{target.name}.{os.getpid()}")
    joblib.dump((fit_logistic if logistic else fit)(x, y, seed), part)
    part.replace(target)
    return target


def _levels() -> list[list[str]]:
    # Fixed levels, so a rare value missing from a training part never changes the width of the encoding.
    return [COLUMNS[name]["levels"] for name in CATEGORIES]
